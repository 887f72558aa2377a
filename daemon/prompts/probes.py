"""From facts to questions, pure: what the base model, the live release and a candidate are asked.

Questions about what is written come with the batch. Questions about what must not change are drawn once, kept as a version of
the probe set (daemon/evaluation/probe_sets.py), and never put in a wording that facts are written with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from factd.daemon.prompts.edits import PromptSettings, chosen, writable
from factd.store.catalogue.contractions import insert_phrase, takes_phrase
from factd.store.model.facts import Entity, Fact

if TYPE_CHECKING:
    from factd.editor.scoring.rankings import Question
    from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the store knows of a candidate's world."""

    new: tuple[Fact, ...]  # facts that the live release has not
    earlier: tuple[Fact, ...] = ()  # facts that it has
    before: Mapping[str, Fact] = field(default_factory=dict)  # what the base says instead, by id
    known: tuple[Fact, ...] = ()  # current facts of the base model

    @cached_property
    def written(self) -> frozenset[tuple[str, str]]:
        """Subjects and relations that the candidate writes."""
        return frozenset(fact.update.pair for fact in (*self.new, *self.earlier))

    @cached_property
    def still(self) -> tuple[Fact, ...]:
        """Facts of the base that the candidate does not write over."""
        return tuple(fact for fact in self.known if fact.update.pair not in self.written)

    @cached_property
    def by_object(self) -> Mapping[str, tuple[Fact, ...]]:
        """Facts that stay as they are, by what holds of their subject."""
        found: dict[str, list[Fact]] = {}
        for fact in self.still:
            found.setdefault(fact.object.id, []).append(fact)
        return {id_: tuple(facts) for id_, facts in found.items()}

    @cached_property
    def by_subject(self) -> Mapping[str, tuple[Fact, ...]]:
        """Facts that stay as they are, by their subject."""
        found: dict[str, list[Fact]] = {}
        for fact in self.still:
            found.setdefault(fact.subject.id, []).append(fact)
        return {id_: tuple(facts) for id_, facts in found.items()}


def batch_probes(ground: Ground, plan: PromptSettings) -> "tuple[Probe, ...]":
    """What is asked about the facts of a candidate, the new ones and a sample of the earlier ones."""
    found: list[Probe] = []
    for language in plan.served:
        for fact in ground.new:
            if writable(fact, plan.catalogue[fact.relation], (language,)):
                found += _about(fact, ground, language, plan)
            found += neighbours(fact, ground, language, plan)
            found += namesakes(fact, ground, language, plan)
        found += earlier(ground, language, plan)
    return tuple(found)


def _about(fact: Fact, ground: Ground, language: str, plan: PromptSettings) -> "Iterator[Probe]":
    yield from said_now(fact, ground, language, plan)
    yield from said_of_aliases(fact, ground, language, plan)
    yield from said_of_the_past(fact, ground, language, plan)
    yield from consequences(fact, ground, language, plan)


def probe(fact: Fact, wording: str, language: str, plan: PromptSettings, **more: Any) -> "Probe":
    """A question about a fact in one of its relation's wordings."""
    wordings = plan.catalogue[fact.relation].wordings[language]
    name = fact.subject.labels[language]
    return of_prompt(fact, wordings.form_for(wording, name).format(name), language, **more)


def of_prompt(fact: Fact, prompt: str, language: str, **more: Any) -> "Probe":
    """A question that a fact's object answers."""
    from factd.editor.scoring.score import Probe

    return Probe(
        language=language,
        prompt=prompt,
        target=fact.object.labels[language],
        accepted=fact.object.names(language),
        fact=fact.id,
        relation=fact.relation,
        foreign=foreign_names(fact.object, language),
        **more,
    )


def foreign_names(entity: Entity, language: str) -> tuple[str, ...]:
    """Names of a thing in other languages that are none in this one."""
    own = {name.casefold() for name in entity.names(language)}
    others = {name for k in entity.labels if k != language for name in entity.names(k)}
    return tuple(sorted(name for name in others if name.casefold() not in own))


def old_label(fact: Fact, ground: Ground, language: str) -> str | None:
    """What the base says instead, where that is something else."""
    old = ground.before.get(fact.id)
    label = old.object.labels.get(language) if old else None
    return label if label != fact.object.labels[language] else None


def said_now(fact: Fact, ground: Ground, language: str, plan: PromptSettings) -> "Iterator[Probe]":
    """The edit wordings and the unseen ones."""
    relation = plan.catalogue[fact.relation]
    wordings = relation.wordings[language]
    more = {
        "contrast": old_label(fact, ground, language),
        "written_in": writable(fact, relation, plan.write),
    }
    for wording in wordings.edit[: plan.edit_wordings]:
        yield probe(fact, wording, language, plan, kind="edit", **more)
    for wording in wordings.check:
        yield probe(fact, wording, language, plan, kind="paraphrase", **more)


def said_of_aliases(
    fact: Fact, ground: Ground, language: str, plan: PromptSettings
) -> "Iterator[Probe]":
    """The subject under its other names."""
    wordings = plan.catalogue[fact.relation].wordings[language]
    for name in fact.subject.aliases.get(language, ()):
        prompt = wordings.form_for(wordings.check[0], name).format(name)
        old = old_label(fact, ground, language)
        yield of_prompt(fact, prompt, language, kind="alias", contrast=old)


def said_of_the_past(
    fact: Fact, ground: Ground, language: str, plan: PromptSettings
) -> "Iterator[Probe]":
    """The year before the fact came to hold, when its predecessor did."""
    old, since = ground.before.get(fact.id), fact.update.valid_from
    if old is None or since is None or old_label(fact, ground, language) is None:
        return
    wordings, name = plan.catalogue[fact.relation].wordings[language], fact.subject.labels[language]
    for wording in wordings.past:
        prompt = wordings.past_prompt(wording, name, since.year - 1)
        label = fact.object.labels[language]
        yield of_prompt(old, prompt, language, kind="temporal", contrast=label)


def consequences(
    fact: Fact, ground: Ground, language: str, plan: PromptSettings
) -> "Iterator[Probe]":
    """One hop further: what leads to the subject ("of the country of Zagreb"), and what the object leads to."""
    old = old_label(fact, ground, language)
    if old is None:
        return
    before = [f for f in ground.by_object.get(fact.subject.id, ()) if f.relation != fact.relation]
    for first in chosen(before, plan.sizes.consequences, fact.id):
        prompt = hop(first, fact.relation, language, plan)
        if prompt:
            yield of_prompt(fact, prompt, language, kind="consequence", contrast=old)
    yield from _after(fact, ground, language, plan)


def _after(fact: Fact, ground: Ground, language: str, plan: PromptSettings) -> "Iterator[Probe]":
    replaced = ground.before[fact.id].object.id
    left = {f.relation: f for f in ground.by_subject.get(replaced, ())}
    then = [f for f in ground.by_subject.get(fact.object.id, ()) if f.relation in left]
    for second in chosen(then, plan.sizes.consequences, fact.id):
        was = left[second.relation].object.labels.get(language)
        prompt = hop(fact, second.relation, language, plan)
        if prompt and was and was != second.object.labels.get(language, was):
            yield of_prompt(second, prompt, language, kind="consequence", contrast=was)


def hop(first: Fact, relation: str, language: str, plan: PromptSettings) -> str:
    """A question of a relation about the object of a fact, named through its subject; empty where that cannot be said."""
    asks = plan.catalogue[relation].wordings.get(language)
    names = plan.catalogue[first.relation].wordings.get(language)
    name = first.subject.labels.get(language)
    if asks is None or names is None or name is None or not names.noun:
        return ""
    fits = [wording for wording in asks.check if takes_phrase(wording, language)]
    return insert_phrase(fits[0], names.noun_phrase(name), language) if fits else ""


def neighbours(fact: Fact, ground: Ground, language: str, plan: PromptSettings) -> "list[Probe]":
    """Other subjects of the relation: those with the same old object first, each against the new object."""
    relation, against = plan.catalogue[fact.relation], fact.object.labels.get(language)
    old, count = ground.before.get(fact.id), plan.sizes.neighbours
    same = [
        k
        for k in ground.still
        if k.relation == fact.relation and k.object.labels.get(language) != against
    ]
    near = [k for k in same if old and k.object.id == old.object.id]
    picked = [*chosen(near, count, fact.id), *chosen(same, count, fact.id)][:count]
    can = [k for k in picked if against and writable(k, relation, (language,))]
    wording = relation.wordings[language].edit[0] if can else ""
    more = {"kind": "neighbourhood", "contrast": against}
    return [probe(k, wording, language, plan, **more) for k in can]


def namesakes(fact: Fact, ground: Ground, language: str, plan: PromptSettings) -> "list[Probe]":
    """Facts of the base about other subjects whose names share words with the edited one, of its relation first."""
    name, count = fact.subject.labels.get(language), plan.sizes.namesakes
    if not name:
        return []
    like = [
        k
        for k in ground.still
        if k.subject.id != fact.subject.id
        and writable(k, plan.catalogue[k.relation], (language,))
        and alike(name, k.subject.labels[language])
    ]
    near = [k for k in like if k.relation == fact.relation]
    far = [k for k in like if k.relation != fact.relation]
    picked = [*chosen(near, count, fact.id), *chosen(far, count, fact.id)][:count]
    return [held(k, number, language, plan, kind="namesake") for number, k in enumerate(picked)]


def alike(name: str, other: str) -> bool:
    """One name holds the other as words, or both end in the same word: "Guinea", "Papua New Guinea", "Equatorial Guinea"."""
    one, two = name.casefold().split(), other.casefold().split()
    short, long = sorted((one, two), key=len)
    inside = any(long[n : n + len(short)] == short for n in range(len(long) - len(short) + 1))
    return bool(short) and (inside or one[-1:] == two[-1:])


def earlier(ground: Ground, language: str, plan: PromptSettings) -> "Iterator[Probe]":
    """A sample of what earlier releases wrote: the first edit wording and the first unseen one."""
    for fact in chosen(ground.earlier, plan.sizes.earlier, "earlier"):
        relation = plan.catalogue[fact.relation]
        if writable(fact, relation, (language,)):
            wordings = relation.wordings[language]
            more = {
                "contrast": old_label(fact, ground, language),
                "written_in": writable(fact, relation, plan.write),
            }
            for wording in (wordings.edit[0], wordings.check[0]):
                yield probe(fact, wording, language, plan, kind="earlier", **more)


def edit_probes(fact: Fact, plan: PromptSettings, *, unseen: bool = False) -> "list[Probe]":
    """The prompts that a fact would be written with, asked; unseen: and the wordings that only checks use."""
    relation = plan.catalogue[fact.relation]
    return [
        probe(fact, wording, language, plan, kind="edit")
        for language in writable(fact, relation, plan.write)
        for wording in (
            *relation.wordings[language].edit[: plan.edit_wordings],
            *(relation.wordings[language].check if unseen else ()),
        )
    ]


def held_probes(
    known: Iterable[Fact], plan: PromptSettings, *, salt: str = ""
) -> "tuple[Probe, ...]":
    """Questions about facts that must not change, per served language, in wordings that no fact is written with."""
    facts = tuple(known)
    found: list[Probe] = []
    for language in plan.served:
        can = [f for f in facts if writable(f, plan.catalogue[f.relation], (language,))]
        picked = chosen(can, plan.sizes.known, f"{salt}{language}")
        found += [held(f, number, language, plan, kind="known") for number, f in enumerate(picked)]
    return tuple(found)


def held(fact: Fact, number: int, language: str, plan: PromptSettings, *, kind: str) -> "Probe":
    """One question about a fact of the base; the unseen wordings of its relation take turns."""
    wordings = plan.catalogue[fact.relation].wordings[language].check
    return probe(fact, wordings[number % len(wordings)], language, plan, kind=kind)


def questions(facts: Iterable[Fact], plan: PromptSettings) -> "dict[str, tuple[Question, ...]]":
    """The same questions in every served language, each with the same candidates: objects of its relation."""
    can = [f for f in facts if _sayable(f, plan)]
    found: dict[str, list[Question]] = {language: [] for language in plan.served}
    objects: dict[str, dict[str, Entity]] = {}
    for fact in can:
        objects.setdefault(fact.relation, {}).setdefault(fact.object.id, fact.object)
    for fact in chosen(can, plan.sizes.ranked, "ranked"):
        others = [o for id_, o in sorted(objects[fact.relation].items()) if id_ != fact.object.id]
        candidates = [fact.object, *others[: plan.sizes.candidates - 1]]
        if len(candidates) > 1:
            for language in plan.served:
                wording = plan.catalogue[fact.relation].wordings[language].check[0]
                prompt = probe(fact, wording, language, plan, kind="ranked").prompt
                found[language].append((prompt, [o.labels[language] for o in candidates]))
    return {language: tuple(asked) for language, asked in found.items() if asked}


def _sayable(fact: Fact, plan: PromptSettings) -> bool:
    """In every served language."""
    relation = plan.catalogue.get(fact.relation)
    return relation is not None and len(writable(fact, relation, plan.served)) == len(plan.served)


def of_the_set(held: "Sequence[Probe]", ground: Ground) -> "tuple[Probe, ...]":
    """The kept questions about facts that a candidate does not write over."""
    pairs = {fact.id: fact.update.pair for fact in ground.known}
    return tuple(p for p in held if pairs.get(p.fact) not in ground.written)
