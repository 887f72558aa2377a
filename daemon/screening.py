"""What is wrong with a fact before anything is written, pure: names that contradict what the store knows, and floods.

A label is suspect where it is the name of *another* thing in its language, or this thing's name in another language while its
own is known; a text that a wording cannot end in (two sentences, an address, broken characters); another subject of
the same name with another object; an object of another kind; a batch that changes most of a relation at once. A value that
an operator approved or pinned passes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from store.catalogue import Catalogue
from store.facts import Entity, Fact

ARTICLES = frozenset(  # of the seven languages of the catalogue
    {"the", "a", "an", "el", "la", "los", "las", "lo", "un", "una", "els", "les", "en", "na"}
    | {"le", "il", "gli", "i", "o", "os", "as", "der", "die", "das"}
)
MANY = 3  # known names that hold a new one; from then on it is told from none of them
FEW = 20  # known pairs of a relation; below, a share of them says nothing
LONGEST_LABEL = 120  # characters
BROKEN = re.compile(r"[\x00-\x1f\x7f\ufffd]|Ã[\x80-\xbf©¨±³¼§´]|â€")
SENTENCES = re.compile(r"\w{4}[.]\s+[A-ZÀ-Þ]\w*\s|[!?]\s+\w|https?://|www\.|[{}<>|]")


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A fact that must not be written, and what speaks against it."""

    fact: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Register:
    """What the store knows: names by thing and language, things by name, kinds of things, pairs of relations."""

    names: Mapping[str, Mapping[str, frozenset[str]]]  # thing -> language -> casefolded names
    owners: Mapping[tuple[str, str], frozenset[str]]  # (language, name) -> things
    kinds: Mapping[str, frozenset[str]]  # thing -> kinds that it has in the catalogue's relations
    pairs: Mapping[str, int]  # relation -> known pairs
    said: Mapping[tuple[str, str, str], tuple[Fact, ...]]  # (relation, language, subject's name)
    parts: Mapping[
        tuple[str, str], frozenset[tuple[str, ...]]
    ]  # (language, word) -> names in words

    @classmethod
    def of(cls, known: Sequence[Fact], catalogue: Catalogue) -> "Register":
        """From facts that are trusted: those the base model holds, and those that are live."""
        names: dict[str, dict[str, set[str]]] = {}
        owners: dict[tuple[str, str], set[str]] = {}
        kinds: dict[str, set[str]] = {}
        pairs: dict[str, set[str]] = {}
        said: dict[tuple[str, str, str], list[Fact]] = {}
        for fact in known:
            for language, label in fact.subject.labels.items():
                said.setdefault((fact.relation, language, bare(label)), []).append(fact)
            relation = catalogue[fact.relation]
            pairs.setdefault(fact.relation, set()).add(fact.subject.id)
            for thing, kind in (
                (fact.subject, relation.subject_kind),
                (fact.object, relation.object_kind),
            ):
                kinds.setdefault(thing.id, set()).add(kind)
                for language, name in _names(thing):
                    names.setdefault(thing.id, {}).setdefault(language, set()).add(name)
                    owners.setdefault((language, name), set()).add(thing.id)
        return cls(
            names={id_: {k: frozenset(v) for k, v in held.items()} for id_, held in names.items()},
            owners={k: frozenset(v) for k, v in owners.items()},
            kinds={k: frozenset(v) for k, v in kinds.items()},
            pairs={k: len(v) for k, v in pairs.items()},
            said={k: tuple(v) for k, v in said.items()},
            parts=_parts(owners),
        )


def _parts(
    owners: Mapping[tuple[str, str], set[str]],
) -> dict[tuple[str, str], frozenset[tuple[str, ...]]]:
    """Names of several words by each of their words."""
    found: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for language, name in owners:
        words = tuple(name.split())
        for word in words if len(words) > 1 else ():
            found.setdefault((language, word), set()).add(words)
    return {key: frozenset(names) for key, names in found.items()}


def bare(name: str) -> str:
    """A name as the model may take it for another: without case, punctuation around its words, and a leading article."""
    words = [word.strip(".,;:!?\"'«»()") for word in name.casefold().replace("’", "'").split()]
    words = [word for word in words if word]
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)


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
    for role, thing in (("subject", fact.subject), ("object", fact.object)):
        for language, label in sorted(thing.labels.items()):
            reason = unsayable(label) or misnamed(thing, language, label, register)
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


def misnamed(thing: Entity, language: str, label: str, register: Register) -> str:
    """Why a label is not this thing's; empty where it may be."""
    name = label.casefold()
    called = register.names.get(thing.id, {})
    own = called.get(language, frozenset())
    if not called:
        return _foreign(thing, language, name, register)
    if not own or name in own:
        return ""
    others = register.owners.get((language, name), frozenset()) - {thing.id}
    alike = [o for o in sorted(others) if _same_kind(thing.id, o, register)]
    if alike:
        return f"is the name of {alike[0]}; {thing.id} is called {sorted(own)[0]!r} there"
    if any(name in held for k, held in called.items() if k != language):
        return f"is its name in another language; it is called {sorted(own)[0]!r} there"
    return ""


def _foreign(thing: Entity, language: str, name: str, register: Register) -> str:
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


def _names(thing: Entity) -> Iterator[tuple[str, str]]:
    for language in thing.labels:
        for name in thing.names(language):
            yield language, name.casefold()
