"""What is wrong with a fact before anything is written, pure: names that contradict what the store knows, and floods.

A label is suspect where it is the name of *another* thing in its language, or this thing's name in another language while its
own is known; a text that a wording cannot end in (two sentences, an address, broken characters); another subject of
the same name with another object; an object of another kind; a batch that changes most of a relation at once. A value that
an operator approved or pinned passes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from factd.daemon.planning.name_index import FEW, Register, bare, likelier
from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact

MANY = 3  # known names that hold a new one; from then on it is told from none of them
READS_LIKE = 0.15  # nats per three letters
RARELY = 0.03  # of the names of several words that two languages share
LONGEST_LABEL = 120  # characters
BROKEN = re.compile(r"[\x00-\x1f\x7f\ufffd]|Ã[\x80-\xbf©¨±³¼§´]|â€")
SENTENCES = re.compile(r"\w{4}[.]\s+[A-ZÀ-Þ]\w*\s|[!?]\s+\w|https?://|www\.|[{}<>|]")


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A fact that must not be written, and what speaks against it."""

    fact: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


def screen(
    new: Sequence[Fact],
    earlier: Sequence[Fact],
    register: Register,
    catalogue: Catalogue,
    *,
    relation_share: float,
) -> tuple[Suspect, ...]:
    """The new facts that must not be written, each once, with the first thing that is wrong with it."""
    found: dict[str, Suspect] = {}
    for suspect in (
        *_floods(new, register, relation_share),
        *(s for fact in new for s in _of_one(fact, register, catalogue)),
        *_contradictions(new, earlier, register),
    ):
        found.setdefault(suspect.fact, suspect)
    return tuple(found[fact.id] for fact in new if fact.id in found)


def _of_one(fact: Fact, register: Register, catalogue: Catalogue) -> Iterator[Suspect]:
    if fact.subject.id == fact.object.id:
        yield Suspect(fact=fact.id, reason="its object is its subject")
    relation = catalogue[fact.relation]
    for role, thing, kind in (
        ("subject", fact.subject, relation.subject_kind),
        ("object", fact.object, relation.object_kind),
    ):
        for language, label in sorted(thing.labels.items()):
            reason = unsayable(label) or misnamed(thing, language, label, register, kind)
            if reason:
                yield Suspect(
                    fact=fact.id,
                    reason=f"its {role}'s name in {language}, {label[:60]!r}, {reason}",
                    evidence={"language": language, "label": label[:200]},
                )
    yield from _of_another_kind(fact, register, catalogue)
    yield from _part_of_many(fact, register)


def _part_of_many(fact: Fact, register: Register) -> Iterator[Suspect]:
    """A subject that nobody knows, whose name is a part of many known ones: an edit of it is met in all of them."""
    if fact.subject.id in register.names:
        return
    for language, label in sorted(fact.subject.labels.items()):
        words = tuple(label.casefold().split())
        held = register.parts.get((language, words[0]), frozenset()) if words else frozenset()
        whole = sorted(" ".join(name) for name in held if _holds(name, words))
        if len(whole) >= MANY:
            reason = f"its subject's name in {language}, {label!r}, is a part of {len(whole)} known names"
            yield Suspect(fact=fact.id, reason=reason, evidence={"names": whole[:5]})


def _holds(name: tuple[str, ...], words: tuple[str, ...]) -> bool:
    size = len(words)
    return size < len(name) and any(
        name[n : n + size] == words for n in range(len(name) - size + 1)
    )


def unsayable(label: str) -> str:
    """Why a wording cannot hold or end in a label; empty where it can."""
    if BROKEN.search(label):
        return "holds broken characters"
    if SENTENCES.search(label):
        return "is more than a name"
    if len(label) > LONGEST_LABEL:
        return f"is {len(label)} characters long"
    if not any(ch.isalnum() for ch in label):
        return "has no letter or digit"
    return ""


def misnamed(thing: Entity, language: str, label: str, register: Register, kind: str) -> str:
    """Why a label is not this thing's; empty where it may be."""
    name = label.casefold()
    called = register.names.get(thing.id, {})
    own = called.get(language, frozenset())
    if not called:
        return _foreign(thing, language, name, register, kind)
    if not own or name in own:
        return ""
    others = register.owners.get((language, name), frozenset()) - {thing.id}
    alike = [o for o in sorted(others) if _same_kind(thing.id, o, register)]
    if alike:
        return f"is the name of {alike[0]}; {thing.id} is called {sorted(own)[0]!r} there"
    if any(name in held for k, held in called.items() if k != language):
        return f"is its name in another language; it is called {sorted(own)[0]!r} there"
    return ""


def _foreign(thing: Entity, language: str, name: str, register: Register, kind: str) -> str:
    """Of a thing that nobody knows: its name here is another thing's, whose names elsewhere are not its own; or what
    other languages call another thing.
    """
    for owner in sorted(register.owners.get((language, name), ())):
        elsewhere = register.names[owner]
        differs = [
            label
            for k, label in thing.labels.items()
            if k in elsewhere and label.casefold() not in elsewhere[k]
        ]
        if differs:
            return f"is the name of {owner}, which is not called {differs[0]!r}"
    if (language, name) in register.owners:
        return ""
    for other, label in sorted(thing.labels.items()):
        same = other != language and label.casefold() == name and " " in name
        rare = register.shared.get((kind, language, other), 1.0) < RARELY
        if same and rare and likelier(name, other, language, register) > READS_LIKE:
            return f"is its name in {other}, too, and reads like one of that language"
    for (other, held), owners in register.owners.items():
        if held == name and other != language:
            known = next((o for o in sorted(owners) if register.names[o].get(language)), None)
            if known:
                here = sorted(register.names[known][language])[0]
                return f"is what {known} is called in {other}; here it is called {here!r}"
    return ""


def _same_kind(one: str, other: str, register: Register) -> bool:
    return bool(register.kinds.get(one, frozenset()) & register.kinds.get(other, frozenset()))


def _of_another_kind(fact: Fact, register: Register, catalogue: Catalogue) -> Iterator[Suspect]:
    relation = catalogue[fact.relation]
    for role, thing, kind in (
        ("subject", fact.subject, relation.subject_kind),
        ("object", fact.object, relation.object_kind),
    ):
        held = register.kinds.get(thing.id)
        if held and kind not in held:
            reason = f"its {role} {thing.id} is known as a {sorted(held)[0]}, not as a {kind}"
            yield Suspect(fact=fact.id, reason=reason, evidence={"kinds": sorted(held)})


def _contradictions(
    new: Sequence[Fact], earlier: Sequence[Fact], register: Register
) -> Iterator[Suspect]:
    """Different subjects of one name with different objects: no wording could tell them apart."""
    said: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in (*earlier, *new):
        for language, name in fact.subject.labels.items():
            said.setdefault((fact.relation, language, bare(name)), []).append(fact)
    fresh = {fact.id for fact in new}
    for key, told in sorted(said.items()):
        language, subjects = key[1], {fact.subject.id for fact in told}
        replaced = {fact.update.pair for fact in told}
        known = [f for f in register.said.get(key, ()) if f.update.pair not in replaced]
        facts = [*told, *(f for f in known if f.subject.id not in subjects)]
        labels = {fact.object.labels.get(language, "").casefold() for fact in facts} - {""}
        if len(labels) > 1:
            ids = [fact.id for fact in facts]
            for fact in facts:
                if fact.id in fresh:
                    others = ", ".join(i for i in ids if i != fact.id)
                    reason = f"contradicts {others}: another object for the same name in {language}"
                    yield Suspect(fact=fact.id, reason=reason, evidence={"with": others})


def _floods(new: Sequence[Fact], register: Register, share: float) -> Iterator[Suspect]:
    """A source that changes most of what is known of a relation at once."""
    claimed: dict[tuple[str, str], list[Fact]] = {}
    for fact in new:
        claimed.setdefault((fact.relation, fact.update.source), []).append(fact)
    for (relation, source), facts in sorted(claimed.items()):
        known = register.pairs.get(relation, 0)
        if known >= FEW and len(facts) > share * known:
            reason = (
                f"{source} changes {len(facts)} of {known} known pairs of {relation} at once; "
                "`factd facts approve` lets one pass"
            )
            for fact in facts:
                evidence = {"relation": relation, "changed": len(facts), "known": known}
                yield Suspect(fact=fact.id, reason=reason, evidence=evidence)
