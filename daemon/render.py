"""From facts to edits and probes, pure. What is written depends only on the fact and the catalogue, never on other facts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.catalogue import Catalogue, Relation
from store.facts import Entity, Fact

if TYPE_CHECKING:
    from editor.edits import EditBatch
    from editor.score import Probe


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How facts are written and asked."""

    catalogue: Catalogue
    write: tuple[str, ...]  # languages that facts are written in
    served: tuple[str, ...]  # languages that are asked
    edit_wordings: int
    keep_wordings: int
    keep_relations: int  # other relations whose answers an edit is held to keep
    known_sample: int  # facts per language
    neighbours: int  # per fact and language


def edit_batch(facts: Iterable[Fact], before: Mapping[str, Fact], plan: Plan) -> "EditBatch":
    """One edit per fact, write language and edit wording. before: what the base says instead, by fact id."""
    from editor.edits import Edit, EditBatch

    edits = []
    for fact in facts:
        relation = plan.catalogue[fact.relation]
        for language in writable(fact, relation, plan.write):
            old = before[fact.id].object.labels.get(language) if fact.id in before else None
            new, name = fact.object.labels[language], fact.subject.labels[language]
            edits += [
                Edit(
                    prompt=relation.wordings[language].before(wording, name),
                    subject=name,
                    target_new=new,
                    target_true=old if old != new else None,
                    language=language,
                    keep=kept(relation, language, name, plan),
                    group=fact.id,
                )
                for wording in relation.wordings[language].edit[: plan.edit_wordings]
            ]
    return EditBatch.of(edits)


def writable(fact: Fact, relation: Relation, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages of some in which the fact can be said: it has both names, the relation a wording."""
    return tuple(
        k
        for k in languages
        if k in fact.subject.labels and k in fact.object.labels and k in relation.wordings
    )


def unwritable(facts: Iterable[Fact], plan: Plan) -> dict[str, str]:
    """Why a fact cannot be written at all, by its id."""
    reason = f"no name or wording in any of {', '.join(plan.write)}"
    found = {}
    for fact in facts:
        relation = plan.catalogue.get(fact.relation)
        if relation is None:
            found[fact.id] = f"relation {fact.relation} is not in the catalogue any more"
        elif not writable(fact, relation, plan.write):
            found[fact.id] = reason
    return found


def kept(relation: Relation, language: str, name: str, plan: Plan) -> tuple[str, ...]:
    """Prompts of other relations about the same kind of subject: their answers must not change with the edit."""
    others = [
        r
        for _, r in sorted(plan.catalogue.items())
        if r.subject_kind == relation.subject_kind and r.id != relation.id
    ][: plan.keep_relations]
    found = [
        r.wordings[language].before(w, name)
        for r in others
        if language in r.wordings
        for w in r.wordings[language].edit[: plan.keep_wordings]
    ]
    return tuple(sorted(found))


def chosen(items: Iterable[Fact], count: int, salt: str) -> list[Fact]:
    """Some of the facts: the same ones for the same facts and salt, whatever their order."""
    return sorted(items, key=lambda f: hashlib.sha256(f"{salt} {f.id}".encode()).digest())[:count]


def probes(
    facts: Sequence[Fact], before: Mapping[str, Fact], known: Sequence[Fact], plan: Plan
) -> "tuple[Probe, ...]":
    """What is asked of the base and the candidate. known: current facts of the base model."""
    found: list[Probe] = []
    for language in plan.served:
        sample = chosen(known, plan.known_sample, language)
        found += [p for fact in facts for p in _about(fact, before.get(fact.id), language, plan)]
        found += [
            p
            for fact in facts
            for p in _neighbours(fact, before.get(fact.id), known, language, plan)
        ]
        found += [
            p for number, fact in enumerate(sample) for p in _known(fact, number, language, plan)
        ]
    return tuple(found)


def _probe(fact: Fact, wording: str, language: str, plan: Plan, **more: Any) -> "Probe":
    from editor.score import Probe

    target, wordings = fact.object.labels[language], plan.catalogue[fact.relation].wordings
    name = fact.subject.labels[language]
    return Probe(
        language=language,
        prompt=wordings[language].before(wording, name).format(name),
        target=target,
        accepted=fact.object.names(language),
        fact=fact.id,
        relation=fact.relation,
        foreign=foreign_names(fact.object, language),
        **more,
    )


def prompts(facts: Iterable[Fact], language: str, catalogue: Catalogue) -> list[str]:
    """The first edit wording of every fact that can be said in a language."""
    return [
        first_wording(catalogue[f.relation], language, f.subject.labels[language])
        for f in facts
        if writable(f, catalogue[f.relation], (language,))
    ]


def first_wording(relation: Relation, language: str, name: str) -> str:
    """A relation's first edit wording about a subject."""
    wordings = relation.wordings[language]
    return wordings.before(wordings.edit[0], name).format(name)


def foreign_names(entity: Entity, language: str) -> tuple[str, ...]:
    """Names of a thing in other languages that are none in this one."""
    own = {name.casefold() for name in entity.names(language)}
    others = {name for k in entity.labels if k != language for name in entity.names(k)}
    return tuple(sorted(name for name in others if name.casefold() not in own))


def _about(fact: Fact, old: Fact | None, language: str, plan: Plan) -> "list[Probe]":
    relation = plan.catalogue[fact.relation]
    if not writable(fact, relation, (language,)):
        return []
    contrast = old.object.labels.get(language) if old else None
    contrast = contrast if contrast != fact.object.labels[language] else None
    written = writable(fact, relation, plan.write)
    more = {"contrast": contrast, "written_in": written}
    wordings = relation.wordings[language]
    edits = [
        _probe(fact, w, language, plan, kind="edit", **more)
        for w in wordings.edit[: plan.edit_wordings]
    ]
    return edits + [
        _probe(fact, w, language, plan, kind="paraphrase", **more) for w in wordings.check
    ]


def edit_probes(fact: Fact, plan: Plan) -> "list[Probe]":
    """The prompts that a fact would be written with, asked."""
    relation = plan.catalogue[fact.relation]
    return [
        _probe(fact, wording, language, plan, kind="edit")
        for language in writable(fact, relation, plan.write)
        for wording in relation.wordings[language].edit[: plan.edit_wordings]
    ]


def names_in_place(fact: Fact, name: str, plan: Plan) -> list[tuple[str, str]]:
    """(words before it, name): the subject's name, or another one, at its place in the relation's wordings."""
    relation = plan.catalogue[fact.relation]
    found = []
    for language in writable(fact, relation, plan.write):
        wordings, said = relation.wordings[language], name or fact.subject.labels[language]
        starts = [wordings.before(w, said).partition("{}")[0].rstrip() for w in wordings.all]
        found += [(start, said) for start in starts if start and not start.endswith(("'", "’"))]
    return found


def _neighbours(
    fact: Fact, old: Fact | None, known: Sequence[Fact], language: str, plan: Plan
) -> "list[Probe]":
    """Other subjects of the relation: those with the same old object first, each against the new object."""
    relation, against = plan.catalogue[fact.relation], fact.object.labels.get(language)
    same = [
        k for k in known if k.relation == fact.relation and k.object.labels.get(language) != against
    ]
    near = [k for k in same if old and k.object.id == old.object.id]
    picked = [*chosen(near, plan.neighbours, fact.id), *chosen(same, plan.neighbours, fact.id)][
        : plan.neighbours
    ]
    can = [k for k in picked if against and writable(k, relation, (language,))]
    wording = relation.wordings[language].edit[0] if can else ""
    return [_probe(k, wording, language, plan, kind="neighbourhood", contrast=against) for k in can]


def _known(fact: Fact, number: int, language: str, plan: Plan) -> "list[Probe]":
    """One question about a fact of the base; all wordings of its relation take turns."""
    relation = plan.catalogue[fact.relation]
    if not writable(fact, relation, (language,)):
        return []
    wordings = relation.wordings[language].all
    return [_probe(fact, wordings[number % len(wordings)], language, plan, kind="known")]
