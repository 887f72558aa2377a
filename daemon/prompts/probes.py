"""From facts to questions, pure: what the base model, the live release and a candidate are asked.

Questions about the facts that are written come with the batch. Questions about facts that must not
change are drawn once and kept as a version of the probe set (daemon/evaluation/probe_sets.py). They
are never put in a wording that facts are written with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from factd.daemon.prompts.edits import PromptSettings, stable_sample, writable_languages
from factd.daemon.prompts.longer_names import with_longer_names
from factd.store.catalogue.contractions import insert_phrase, takes_phrase
from factd.store.model.facts import Entity, Fact

if TYPE_CHECKING:
    from factd.editor.scoring.rankings import Question
    from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class FactContext:
    """The facts that a candidate writes, and the base model's facts around them."""

    new: tuple[Fact, ...]  # facts that the live release does not hold
    earlier: tuple[Fact, ...] = ()  # facts that the live release holds too
    before: Mapping[str, Fact] = field(default_factory=dict)  # what the base says instead, by id
    known: tuple[Fact, ...] = ()  # current facts of the base model

    @cached_property
    def written_pairs(self) -> frozenset[tuple[str, str]]:
        """(subject, relation) of every fact that the candidate writes."""
        return frozenset(fact.update.pair for fact in (*self.new, *self.earlier))

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Every fact of the context."""
        return (*self.new, *self.earlier, *self.before.values(), *self.known)

    @cached_property
    def unchanged(self) -> tuple[Fact, ...]:
        """The base model's facts that the candidate does not write over."""
        return tuple(fact for fact in self.known if fact.update.pair not in self.written_pairs)

    @cached_property
    def unchanged_by_object(self) -> Mapping[str, tuple[Fact, ...]]:
        """The unchanged facts by the id of their object."""
        return _grouped(self.unchanged, lambda fact: fact.object.id)

    @cached_property
    def unchanged_by_subject(self) -> Mapping[str, tuple[Fact, ...]]:
        """The unchanged facts by the id of their subject."""
        return _grouped(self.unchanged, lambda fact: fact.subject.id)


def _grouped(facts: Iterable[Fact], key: Callable[[Fact], str]) -> dict[str, tuple[Fact, ...]]:
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(key(fact), []).append(fact)
    return {name: tuple(group) for name, group in groups.items()}


def batch_probes(context: FactContext, prompts: PromptSettings) -> "tuple[Probe, ...]":
    """The questions about a candidate's new facts and about a sample of its earlier ones."""
    probes: list[Probe] = []
    for language in prompts.served:
        for fact in context.new:
            if writable_languages(fact, prompts.catalogue[fact.relation], (language,)):
                probes += _own_probes(fact, context, language, prompts)
            probes += neighbourhood_probes(fact, context, language, prompts)
            probes += namesake_probes(fact, context, language, prompts)
        probes += earlier_probes(context, language, prompts)
    return with_longer_names(probes, context.facts)


def _own_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """The questions that a new fact itself should answer."""
    yield from statement_probes(fact, context, language, prompts)
    yield from alias_probes(fact, context, language, prompts)
    yield from temporal_probes(fact, context, language, prompts)
    yield from consequence_probes(fact, context, language, prompts)


def wording_probe(
    fact: Fact, wording: str, language: str, prompts: PromptSettings, **more: Any
) -> "Probe":
    """A question about a fact in a wording of its relation. more: other fields of the probe."""
    wordings = prompts.catalogue[fact.relation].wordings[language]
    name = fact.subject.labels[language]
    return prompt_probe(fact, wordings.form_for(wording, name).format(name), language, **more)


def prompt_probe(fact: Fact, prompt: str, language: str, **more: Any) -> "Probe":
    """A question that a fact's object answers. more: other fields of the probe."""
    from factd.editor.scoring.score import Probe  # needs torch

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
    """An entity's names in other languages that are not names of it in this language."""
    own = {name.casefold() for name in entity.names(language)}
    others = {name for k in entity.labels if k != language for name in entity.names(k)}
    return tuple(sorted(name for name in others if name.casefold() not in own))


def previous_label(fact: Fact, context: FactContext, language: str) -> str | None:
    """The object that the base model states instead of the fact's; None if it states no other."""
    old = context.before.get(fact.id)
    label = old.object.labels.get(language) if old else None
    return label if label != fact.object.labels[language] else None


def statement_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """A fact in its edit wordings ("edit") and in the unseen ones of checks ("paraphrase")."""
    relation = prompts.catalogue[fact.relation]
    wordings = relation.wordings[language]
    more = {
        "contrast": previous_label(fact, context, language),
        "written_in": writable_languages(fact, relation, prompts.write),
    }
    for wording in wordings.edit[: prompts.edit_wordings]:
        yield wording_probe(fact, wording, language, prompts, kind="edit", **more)
    for wording in wordings.check:
        yield wording_probe(fact, wording, language, prompts, kind="paraphrase", **more)


def alias_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """A fact about its subject under each of the subject's other names."""
    wordings = prompts.catalogue[fact.relation].wordings[language]
    for name in fact.subject.aliases.get(language, ()):
        prompt = wordings.form_for(wordings.check[0], name).format(name)
        contrast = previous_label(fact, context, language)
        yield prompt_probe(fact, prompt, language, kind="alias", contrast=contrast)


def temporal_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """Questions about the year before the fact came to hold. Its predecessor is the answer."""
    old, since = context.before.get(fact.id), fact.update.valid_from
    if old is None or since is None or previous_label(fact, context, language) is None:
        return
    wordings = prompts.catalogue[fact.relation].wordings[language]
    name, new = fact.subject.labels[language], fact.object.labels[language]
    for wording in wordings.past:
        prompt = wordings.past_prompt(wording, name, since.year - 1)
        yield prompt_probe(old, prompt, language, kind="temporal", contrast=new)


def consequence_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """Questions that take two facts to answer.

    Another fact leads to the subject ("the currency of the country of Zagreb"), or a second one
    leads on from the object.
    """
    contrast = previous_label(fact, context, language)
    if contrast is None:
        return
    leading = [
        other
        for other in context.unchanged_by_object.get(fact.subject.id, ())
        if other.relation != fact.relation
    ]
    for first in stable_sample(leading, prompts.sizes.consequences, fact.id):
        prompt = two_hop_prompt(first, fact.relation, language, prompts)
        if prompt:
            yield prompt_probe(fact, prompt, language, kind="consequence", contrast=contrast)
    yield from _consequences_of_object(fact, context, language, prompts)


def _consequences_of_object(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """Questions about the subject whose answers follow from the new object, not the old one."""
    replaced = context.before[fact.id].object.id
    of_old = {f.relation: f for f in context.unchanged_by_subject.get(replaced, ())}
    of_new = context.unchanged_by_subject.get(fact.object.id, ())
    both = [second for second in of_new if second.relation in of_old]
    for second in stable_sample(both, prompts.sizes.consequences, fact.id):
        was = of_old[second.relation].object.labels.get(language)
        prompt = two_hop_prompt(fact, second.relation, language, prompts)
        if prompt and was and was != second.object.labels.get(language, was):
            yield prompt_probe(second, prompt, language, kind="consequence", contrast=was)


def two_hop_prompt(first: Fact, relation: str, language: str, prompts: PromptSettings) -> str:
    """A relation's question about the object of a fact, which is named through the fact's subject.

    Empty if the language cannot say it.
    """
    asks = prompts.catalogue[relation].wordings.get(language)
    names = prompts.catalogue[first.relation].wordings.get(language)
    name = first.subject.labels.get(language)
    if asks is None or names is None or name is None or not names.noun:
        return ""
    fits = [wording for wording in asks.check if takes_phrase(wording, language)]
    return insert_phrase(fits[0], names.noun_phrase(name), language) if fits else ""


def neighbourhood_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "list[Probe]":
    """Unchanged facts about other subjects of the relation; the new object must not win there.

    Subjects with the same old object come first.
    """
    relation, contrast = prompts.catalogue[fact.relation], fact.object.labels.get(language)
    old, count = context.before.get(fact.id), prompts.sizes.neighbours
    same_relation = [
        other
        for other in context.unchanged
        if other.relation == fact.relation and other.object.labels.get(language) != contrast
    ]
    same_object = [other for other in same_relation if old and other.object.id == old.object.id]
    neighbours = [
        *stable_sample(same_object, count, fact.id),
        *stable_sample(same_relation, count, fact.id),
    ][:count]
    if not contrast:
        return []
    wording = relation.wordings[language].edit[0] if language in relation.wordings else ""
    return [
        wording_probe(other, wording, language, prompts, kind="neighbourhood", contrast=contrast)
        for other in neighbours
        if writable_languages(other, relation, (language,))
    ]


def namesake_probes(
    fact: Fact, context: FactContext, language: str, prompts: PromptSettings
) -> "list[Probe]":
    """Unchanged facts about other subjects whose names share words with the edited subject's.

    Facts of the same relation come first.
    """
    name, count = fact.subject.labels.get(language), prompts.sizes.namesakes
    if not name:
        return []
    namesakes = [
        other
        for other in context.unchanged
        if other.subject.id != fact.subject.id
        and writable_languages(other, prompts.catalogue[other.relation], (language,))
        and are_namesakes(name, other.subject.labels[language])
    ]
    near = [other for other in namesakes if other.relation == fact.relation]
    far = [other for other in namesakes if other.relation != fact.relation]
    sample = [*stable_sample(near, count, fact.id), *stable_sample(far, count, fact.id)][:count]
    return [
        unseen_wording_probe(other, number, language, prompts, kind="namesake")
        for number, other in enumerate(sample)
    ]


def are_namesakes(name: str, other: str) -> bool:
    """Whether one name holds the other as whole words, or both end in the same word.

    "Guinea", "Papua New Guinea" and "Equatorial Guinea" are namesakes.
    """
    one, two = name.casefold().split(), other.casefold().split()
    short, long = sorted((one, two), key=len)
    inside = any(long[n : n + len(short)] == short for n in range(len(long) - len(short) + 1))
    return bool(short) and (inside or one[-1:] == two[-1:])


def earlier_probes(
    context: FactContext, language: str, prompts: PromptSettings
) -> "Iterator[Probe]":
    """A sample of the facts of earlier releases, in the first edit wording and the first unseen."""
    for fact in stable_sample(context.earlier, prompts.sizes.earlier, "earlier"):
        relation = prompts.catalogue[fact.relation]
        if writable_languages(fact, relation, (language,)):
            wordings = relation.wordings[language]
            more = {
                "contrast": previous_label(fact, context, language),
                "written_in": writable_languages(fact, relation, prompts.write),
            }
            for wording in (wordings.edit[0], wordings.check[0]):
                yield wording_probe(fact, wording, language, prompts, kind="earlier", **more)


def edit_probes(fact: Fact, prompts: PromptSettings, *, unseen: bool = False) -> "list[Probe]":
    """The prompts that a fact would be written with, as questions in every written language.

    unseen: also the wordings that only checks use.
    """
    relation = prompts.catalogue[fact.relation]
    return [
        wording_probe(fact, wording, language, prompts, kind="edit")
        for language in writable_languages(fact, relation, prompts.write)
        for wording in (
            *relation.wordings[language].edit[: prompts.edit_wordings],
            *(relation.wordings[language].check if unseen else ()),
        )
    ]


def known_fact_probes(
    known: Iterable[Fact], prompts: PromptSettings, *, salt: str = ""
) -> "tuple[Probe, ...]":
    """Questions about facts that must not change, in each served language, in unseen wordings.

    salt: another salt draws another sample.
    """
    facts = tuple(known)
    probes: list[Probe] = []
    for language in prompts.served:
        writable = [
            fact
            for fact in facts
            if writable_languages(fact, prompts.catalogue[fact.relation], (language,))
        ]
        sample = stable_sample(writable, prompts.sizes.known, f"{salt}{language}")
        probes += [
            unseen_wording_probe(fact, number, language, prompts, kind="known")
            for number, fact in enumerate(sample)
        ]
    return with_longer_names(probes, facts)


def unseen_wording_probe(
    fact: Fact, number: int, language: str, prompts: PromptSettings, *, kind: str
) -> "Probe":
    """A question in a wording that only checks use. The wordings take turns by number."""
    wordings = prompts.catalogue[fact.relation].wordings[language].check
    return wording_probe(fact, wordings[number % len(wordings)], language, prompts, kind=kind)


def ranked_questions(
    facts: Iterable[Fact], prompts: PromptSettings
) -> "dict[str, tuple[Question, ...]]":
    """Questions whose candidates are ranked, by language; the same facts and candidates in each.

    The candidates are objects of the fact's relation, the right one first.
    """
    askable = [fact for fact in facts if _is_writable_everywhere(fact, prompts)]
    questions: dict[str, list[Question]] = {language: [] for language in prompts.served}
    objects: dict[str, dict[str, Entity]] = {}
    for fact in askable:
        objects.setdefault(fact.relation, {}).setdefault(fact.object.id, fact.object)
    for fact in stable_sample(askable, prompts.sizes.ranked, "ranked"):
        others = [o for id_, o in sorted(objects[fact.relation].items()) if id_ != fact.object.id]
        candidates = [fact.object, *others[: prompts.sizes.candidates - 1]]
        for language in prompts.served if len(candidates) > 1 else ():
            wording = prompts.catalogue[fact.relation].wordings[language].check[0]
            prompt = wording_probe(fact, wording, language, prompts, kind="ranked").prompt
            questions[language].append((prompt, [o.labels[language] for o in candidates]))
    return {language: tuple(rows) for language, rows in questions.items() if rows}


def _is_writable_everywhere(fact: Fact, prompts: PromptSettings) -> bool:
    """Whether the fact can be asked in every served language."""
    relation = prompts.catalogue.get(fact.relation)
    return relation is not None and (
        len(writable_languages(fact, relation, prompts.served)) == len(prompts.served)
    )


def still_valid_probes(probes: "Sequence[Probe]", context: FactContext) -> "tuple[Probe, ...]":
    """The questions of a probe set without those about facts that the candidate writes over."""
    pairs = {fact.id: fact.update.pair for fact in context.known}
    return tuple(p for p in probes if pairs.get(p.fact) not in context.written_pairs)
