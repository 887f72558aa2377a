"""From facts to edits, pure. What is written depends only on the fact and the catalogue, never on other facts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factd.daemon.config.tables import ChecksTable
from factd.store.catalogue.catalogue import Catalogue, Relation
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.editor.edits import EditBatch


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """How facts are written and asked."""

    catalogue: Catalogue
    write: tuple[str, ...]  # languages that facts are written in
    served: tuple[str, ...]  # languages that are asked
    edit_wordings: int
    keep_wordings: int
    keep_relations: int  # other relations whose answers an edit is held to keep
    sizes: "Sizes"  # of what is asked
    checks: ChecksTable = field(default_factory=ChecksTable)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is asked."""

    known: int = 150  # facts per language that must not change
    neighbours: int = 1  # per fact and language
    namesakes: int = 2  # per fact and language
    earlier: int = 200  # facts that were written earlier
    consequences: int = 1  # of each direction, per fact and language
    ranked: int = 20  # questions whose candidates are ranked
    candidates: int = 8
    texts: int = 30  # held out, per language


def edit_batch(
    facts: Iterable[Fact], before: Mapping[str, Fact], plan: PromptSettings
) -> "EditBatch":
    """One edit per fact, write language and edit wording. before: what the base says instead, by fact id."""
    from factd.editor.edits import Edit, EditBatch

    edits = []
    for fact in facts:
        relation = plan.catalogue[fact.relation]
        for language in writable(fact, relation, plan.write):
            old = before[fact.id].object.labels.get(language) if fact.id in before else None
            new, name = fact.object.labels[language], fact.subject.labels[language]
            edits += [
                Edit(
                    prompt=relation.wordings[language].form_for(wording, name),
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


def unwritable(facts: Iterable[Fact], plan: PromptSettings) -> dict[str, str]:
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


def kept(relation: Relation, language: str, name: str, plan: PromptSettings) -> tuple[str, ...]:
    """Prompts of other relations about the same kind of subject: their answers must not change with the edit."""
    others = [
        r
        for _, r in sorted(plan.catalogue.items())
        if r.subject_kind == relation.subject_kind and r.id != relation.id
    ][: plan.keep_relations]
    found = [
        r.wordings[language].form_for(w, name)
        for r in others
        if language in r.wordings
        for w in r.wordings[language].edit[: plan.keep_wordings]
    ]
    return tuple(sorted(found))


def chosen(items: Iterable[Fact], count: int, salt: str) -> list[Fact]:
    """Some of the facts: the same ones for the same facts and salt, whatever their order."""
    return sorted(items, key=lambda f: hashlib.sha256(f"{salt} {f.id}".encode()).digest())[:count]


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
    return wordings.form_for(wordings.edit[0], name).format(name)


def names_in_place(fact: Fact, name: str, plan: PromptSettings) -> list[tuple[str, str]]:
    """(words before it, name): the subject's name, or another one, at its place in the relation's wordings."""
    relation = plan.catalogue[fact.relation]
    found = []
    for language in writable(fact, relation, plan.write):
        wordings, said = relation.wordings[language], name or fact.subject.labels[language]
        starts = [wordings.form_for(w, said).partition("{}")[0].rstrip() for w in wordings.all]
        found += [(start, said) for start in starts if start and not start.endswith(("'", "’"))]
    return found
