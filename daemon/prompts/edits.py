"""From facts to edits, pure.

What is written for a fact depends only on that fact and the catalogue, never on other facts.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from factd.daemon.config.tables import ChecksTable
from factd.editor.edits import Edit, EditBatch
from factd.store.catalogue.catalogue import Catalogue, Relation
from factd.store.model.facts import Fact

APOSTROPHES = ("'", "’")


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """How facts are written, and how they are asked."""

    catalogue: Catalogue
    write: tuple[str, ...]  # languages that facts are written in
    served: tuple[str, ...]  # languages that are asked
    edit_wordings: int
    keep_wordings: int
    keep_relations: int  # other relations whose answers must not change with an edit
    sizes: "SampleSizes"
    checks: ChecksTable = field(default_factory=ChecksTable)


@dataclass(frozen=True, kw_only=True)
class SampleSizes:
    """How many questions of each kind are asked."""

    known: int = 150  # facts per language that must not change
    neighbours: int = 1  # per fact and language
    namesakes: int = 2  # per fact and language
    earlier: int = 200  # facts of earlier releases
    consequences: int = 1  # in each direction, per fact and language
    ranked: int = 20  # questions whose candidates are ranked
    candidates: int = 8  # of each ranked question
    texts: int = 30  # held out, per language


def edit_batch(
    facts: Iterable[Fact], before: Mapping[str, Fact], prompts: PromptSettings
) -> EditBatch:
    """One edit for each fact, written language and edit wording.

    before: fact id -> the fact that the base model states instead.
    """
    edits = []
    for fact in facts:
        relation = prompts.catalogue[fact.relation]
        for language in writable_languages(fact, relation, prompts.write):
            old = before[fact.id].object.labels.get(language) if fact.id in before else None
            new, name = fact.object.labels[language], fact.subject.labels[language]
            edits += [
                Edit(
                    prompt=relation.wordings[language].form_for(wording, name),
                    subject=name,
                    target_new=new,
                    target_true=old if old != new else None,
                    language=language,
                    keep=prompts_to_keep(relation, language, name, prompts),
                    group=fact.id,
                )
                for wording in relation.wordings[language].edit[: prompts.edit_wordings]
            ]
    return EditBatch.of(edits)


def writable_languages(fact: Fact, relation: Relation, languages: Sequence[str]) -> tuple[str, ...]:
    """Those of some languages in which subject and object have names and the relation a wording."""
    return tuple(
        k
        for k in languages
        if k in fact.subject.labels and k in fact.object.labels and k in relation.wordings
    )


def why_unwritable(facts: Iterable[Fact], prompts: PromptSettings) -> dict[str, str]:
    """Fact id -> why the fact cannot be written in any language. Writable facts are left out."""
    reasons = {}
    for fact in facts:
        relation = prompts.catalogue.get(fact.relation)
        if relation is None:
            reasons[fact.id] = f"relation {fact.relation} is not in the catalogue any more"
        elif not writable_languages(fact, relation, prompts.write):
            reasons[fact.id] = f"no name or wording in any of {', '.join(prompts.write)}"
    return reasons


def prompts_to_keep(
    relation: Relation, language: str, name: str, prompts: PromptSettings
) -> tuple[str, ...]:
    """Prompts of other relations about the same subject, whose answers must not change."""
    others = [
        other
        for _, other in sorted(prompts.catalogue.items())
        if other.subject_kind == relation.subject_kind and other.id != relation.id
    ][: prompts.keep_relations]
    return tuple(
        sorted(
            other.wordings[language].form_for(wording, name)
            for other in others
            if language in other.wordings
            for wording in other.wordings[language].edit[: prompts.keep_wordings]
        )
    )


def stable_sample(facts: Iterable[Fact], count: int, salt: str) -> list[Fact]:
    """Some of the facts. The same facts and salt give the same sample, whatever their order."""
    return sorted(facts, key=lambda f: hashlib.sha256(f"{salt} {f.id}".encode()).digest())[:count]


def first_edit_prompts(facts: Iterable[Fact], language: str, catalogue: Catalogue) -> list[str]:
    """The first edit wording about every fact that can be written in a language."""
    return [
        first_edit_prompt(catalogue[f.relation], language, f.subject.labels[language])
        for f in facts
        if writable_languages(f, catalogue[f.relation], (language,))
    ]


def first_edit_prompt(relation: Relation, language: str, name: str) -> str:
    """A relation's first edit wording about a subject."""
    wordings = relation.wordings[language]
    return wordings.form_for(wordings.edit[0], name).format(name)


def names_in_wordings(fact: Fact, name: str, prompts: PromptSettings) -> list[tuple[str, str]]:
    """(words before the name, name) for each wording in which words stand before the subject.

    name: the name to put there; empty: the subject's own.
    """
    relation = prompts.catalogue[fact.relation]
    pairs = []
    for language in writable_languages(fact, relation, prompts.write):
        wordings, label = relation.wordings[language], name or fact.subject.labels[language]
        starts = [wordings.form_for(w, label).partition("{}")[0].rstrip() for w in wordings.all]
        pairs += [(start, label) for start in starts if start and not start.endswith(APOSTROPHES)]
    return pairs
