"""What speaks against new facts before anything is written, pure.

A name is suspect
- if it is the name of *another* entity in its language,
- if it is this entity's name in another language, although its own name is known,
- if a wording cannot end in it: two sentences, an address, broken characters.

A fact is suspect
- if another subject of the same name has another object,
- if its subject or object is known as an entity of another kind,
- if its source changes most of a relation in one batch.

Facts that an operator approved or pinned are not screened (planning/recheck.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from factd.daemon.planning.name_index import MIN_COUNT, NameIndex, bare_name, likelihood_gain
from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact

MANY_NAMES = 3  # known names that hold a new name; an edit could not be told from so many
READS_LIKE_NATS = 0.15  # per trigram; a name that much likelier in another language reads like it
RARE_SHARE = 0.03  # of long names that two languages share; below, an equal name is suspect
LONGEST_NAME = 120  # characters
BROKEN = re.compile(r"[\x00-\x1f\x7f\ufffd]|Ã[\x80-\xbf©¨±³¼§´]|â€")
SENTENCES = re.compile(r"\w{4}[.]\s+[A-ZÀ-Þ]\w*\s|[!?]\s+\w|https?://|www\.|[{}<>|]")


@dataclass(frozen=True, kw_only=True)
class SuspectFact:
    """A new fact that must not be written, and what speaks against it."""

    fact: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


def screen(
    new: Sequence[Fact],
    earlier: Sequence[Fact],
    index: NameIndex,
    catalogue: Catalogue,
    *,
    relation_share: float,
) -> tuple[SuspectFact, ...]:
    """The new facts that must not be written, each once, with the first reason against it.

    relation_share: the largest share of a relation's known pairs that one source may change.
    """
    suspects: dict[str, SuspectFact] = {}
    for suspect in (
        *_floods(new, index, relation_share),
        *(suspect for fact in new for suspect in _suspicions(fact, index, catalogue)),
        *_contradictions(new, earlier, index),
    ):
        suspects.setdefault(suspect.fact, suspect)
    return tuple(suspects[fact.id] for fact in new if fact.id in suspects)


def _suspicions(fact: Fact, index: NameIndex, catalogue: Catalogue) -> Iterator[SuspectFact]:
    """Everything that speaks against a fact by itself."""
    if fact.subject.id == fact.object.id:
        yield SuspectFact(fact=fact.id, reason="its object is its subject")
    for role, entity, kind in _roles(fact, catalogue):
        for language, label in sorted(entity.labels.items()):
            reason = why_unsayable(label) or why_misnamed(entity, language, label, index, kind)
            if reason:
                yield SuspectFact(
                    fact=fact.id,
                    reason=f"its {role}'s name in {language}, {label[:60]!r}, {reason}",
                    evidence={"language": language, "label": label[:200]},
                )
    yield from _of_another_kind(fact, index, catalogue)
    yield from _part_of_many_names(fact, index)


def _roles(fact: Fact, catalogue: Catalogue) -> tuple[tuple[str, Entity, str], ...]:
    """(role, entity, kind that the relation asks for) of subject and object."""
    relation = catalogue[fact.relation]
    return (
        ("subject", fact.subject, relation.subject_kind),
        ("object", fact.object, relation.object_kind),
    )


def _part_of_many_names(fact: Fact, index: NameIndex) -> Iterator[SuspectFact]:
    """An unknown subject whose name is a part of many known names. An edit would reach them all."""
    if fact.subject.id in index.names:
        return
    for language, label in sorted(fact.subject.labels.items()):
        words = tuple(label.casefold().split())
        names = index.names_with_word.get((language, words[0]), frozenset()) if words else ()
        longer = sorted(" ".join(name) for name in names if _is_part_of(words, name))
        if len(longer) >= MANY_NAMES:
            reason = (
                f"its subject's name in {language}, {label!r}, "
                f"is a part of {len(longer)} known names"
            )
            yield SuspectFact(fact=fact.id, reason=reason, evidence={"names": longer[:5]})


def _is_part_of(words: tuple[str, ...], name: tuple[str, ...]) -> bool:
    size = len(words)
    return size < len(name) and any(
        name[n : n + size] == words for n in range(len(name) - size + 1)
    )


def why_unsayable(label: str) -> str:
    """Why a wording cannot hold a label or end in it. Empty if it can."""
    if BROKEN.search(label):
        return "holds broken characters"
    if SENTENCES.search(label):
        return "is more than a name"
    if len(label) > LONGEST_NAME:
        return f"is {len(label)} characters long"
    if not any(ch.isalnum() for ch in label):
        return "has no letter or digit"
    return ""


def why_misnamed(entity: Entity, language: str, label: str, index: NameIndex, kind: str) -> str:
    """Why a label cannot be this entity's name in a language. Empty if it may be."""
    name = label.casefold()
    known = index.names.get(entity.id, {})
    own = known.get(language, frozenset())
    if not known:
        return _why_misnamed_unknown(entity, language, name, index, kind)
    if not own or name in own:
        return ""
    others = index.owners.get((language, name), frozenset()) - {entity.id}
    same_kind = [other for other in sorted(others) if _share_a_kind(entity.id, other, index)]
    if same_kind:
        return f"is the name of {same_kind[0]}; {entity.id} is called {sorted(own)[0]!r} there"
    if any(name in names for k, names in known.items() if k != language):
        return f"is its name in another language; it is called {sorted(own)[0]!r} there"
    return ""


def _why_misnamed_unknown(
    entity: Entity, language: str, name: str, index: NameIndex, kind: str
) -> str:
    """Why a name cannot be that of an entity that the store does not know.

    It is another entity's name, although the names in other languages are not; or it is the
    entity's own name in another language; or other languages call another entity so.
    """
    for owner in sorted(index.owners.get((language, name), ())):
        elsewhere = index.names[owner]
        differing = [
            label
            for k, label in entity.labels.items()
            if k in elsewhere and label.casefold() not in elsewhere[k]
        ]
        if differing:
            return f"is the name of {owner}, which is not called {differing[0]!r}"
    if (language, name) in index.owners:
        return ""
    return _why_foreign(entity, language, name, index, kind) or _why_anothers(language, name, index)


def _why_foreign(entity: Entity, language: str, name: str, index: NameIndex, kind: str) -> str:
    """The entity has this long name in another language too, and it reads like that language."""
    for other, label in sorted(entity.labels.items()):
        same = other != language and label.casefold() == name and " " in name
        rare = index.shared_names.get((kind, language, other), 1.0) < RARE_SHARE
        if same and rare and likelihood_gain(name, other, language, index) > READS_LIKE_NATS:
            return f"is its name in {other}, too, and reads like one of that language"
    return ""


def _why_anothers(language: str, name: str, index: NameIndex) -> str:
    """Another language calls another entity so, which has another name in this language."""
    for (other, known_name), owners in index.owners.items():
        if known_name == name and other != language:
            owner = next((o for o in sorted(owners) if index.names[o].get(language)), None)
            if owner:
                here = sorted(index.names[owner][language])[0]
                return f"is what {owner} is called in {other}; here it is called {here!r}"
    return ""


def _share_a_kind(one: str, other: str, index: NameIndex) -> bool:
    return bool(index.kinds.get(one, frozenset()) & index.kinds.get(other, frozenset()))


def _of_another_kind(fact: Fact, index: NameIndex, catalogue: Catalogue) -> Iterator[SuspectFact]:
    for role, entity, kind in _roles(fact, catalogue):
        known = index.kinds.get(entity.id)
        if known and kind not in known:
            reason = f"its {role} {entity.id} is known as a {sorted(known)[0]}, not as a {kind}"
            yield SuspectFact(fact=fact.id, reason=reason, evidence={"kinds": sorted(known)})


def _contradictions(
    new: Sequence[Fact], earlier: Sequence[Fact], index: NameIndex
) -> Iterator[SuspectFact]:
    """Different subjects of one name with different objects: no wording can tell them apart."""
    by_name: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in (*earlier, *new):
        for language, name in fact.subject.labels.items():
            by_name.setdefault((fact.relation, language, bare_name(name)), []).append(fact)
    new_ids = {fact.id for fact in new}
    for key, same_name in sorted(by_name.items()):
        language = key[1]
        facts = [*same_name, *_other_subjects(same_name, index.facts.get(key, ()))]
        objects = {fact.object.labels.get(language, "").casefold() for fact in facts} - {""}
        if len(objects) > 1:
            for fact in facts:
                if fact.id in new_ids:
                    others = ", ".join(other.id for other in facts if other.id != fact.id)
                    reason = f"contradicts {others}: another object for the same name in {language}"
                    yield SuspectFact(fact=fact.id, reason=reason, evidence={"with": others})


def _other_subjects(facts: Sequence[Fact], known: Sequence[Fact]) -> list[Fact]:
    """The known facts that the given ones do not replace, about other subjects than theirs."""
    pairs = {fact.update.pair for fact in facts}
    subjects = {fact.subject.id for fact in facts}
    return [f for f in known if f.update.pair not in pairs and f.subject.id not in subjects]


def _floods(new: Sequence[Fact], index: NameIndex, share: float) -> Iterator[SuspectFact]:
    """Every fact of a source that changes most of a relation's known pairs in one batch."""
    by_source: dict[tuple[str, str], list[Fact]] = {}
    for fact in new:
        by_source.setdefault((fact.relation, fact.update.source), []).append(fact)
    for (relation, source), facts in sorted(by_source.items()):
        known = index.pair_counts.get(relation, 0)
        if known >= MIN_COUNT and len(facts) > share * known:
            reason = (
                f"{source} changes {len(facts)} of {known} known pairs of {relation} at once; "
                "`factd facts approve` lets one pass"
            )
            evidence = {"relation": relation, "changed": len(facts), "known": known}
            for fact in facts:
                yield SuspectFact(fact=fact.id, reason=reason, evidence=evidence)
