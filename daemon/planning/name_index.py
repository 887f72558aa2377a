"""What the store knows of names and kinds, pure: the register that new facts are screened against."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import log

from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact

FEW = 20  # of anything; below, a share says nothing
ARTICLES = frozenset(  # of the seven languages of the catalogue
    {"the", "a", "an", "el", "la", "los", "las", "lo", "un", "una", "els", "les", "en", "na"}
    | {"le", "il", "gli", "i", "o", "os", "as", "der", "die", "das"}
)


@dataclass(frozen=True, kw_only=True)
class Register:
    """What the store knows: names by thing and language, things by name, kinds of things, pairs of relations."""

    names: Mapping[str, Mapping[str, frozenset[str]]]  # thing -> language -> casefolded names
    owners: Mapping[tuple[str, str], frozenset[str]]  # (language, name) -> things
    kinds: Mapping[str, frozenset[str]]  # thing -> kinds that it has in the catalogue's relations
    pairs: Mapping[str, int]  # relation -> known pairs
    said: Mapping[tuple[str, str, str], tuple[Fact, ...]]  # (relation, language, subject's name)
    # (language, word) -> names that hold it, in words
    parts: Mapping[tuple[str, str], frozenset[tuple[str, ...]]]
    letters: Mapping[str, Counter[str]]  # language -> how often three letters stand together
    shared: Mapping[
        tuple[str, str, str], float
    ]  # (kind, two languages) -> share of long names that are the same

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
            letters=_letters(owners),
            shared=_shared(names, kinds),
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


def _shared(
    names: Mapping[str, Mapping[str, set[str]]], kinds: Mapping[str, set[str]]
) -> dict[tuple[str, str, str], float]:
    """Of things that have names of several words in two languages, the share that has one in common."""
    counts: dict[tuple[str, str, str], list[bool]] = {}
    for thing, held in names.items():
        long = {k: {n for n in v if " " in n} for k, v in held.items()}
        for one, two in permutations(sorted(k for k, v in long.items() if v), 2):
            for kind in kinds[thing]:
                counts.setdefault((kind, one, two), []).append(bool(long[one] & long[two]))
    return {key: sum(v) / len(v) for key, v in counts.items() if len(v) >= FEW}


def _letters(owners: Mapping[tuple[str, str], set[str]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for language, name in owners:
        found.setdefault(language, Counter()).update(threes(name))
    return found


def threes(name: str) -> list[str]:
    """Every three letters of a name that stand together, its ends included."""
    text = f" {name.casefold()} "
    return [text[n : n + 3] for n in range(len(text) - 2)]


def likelier(name: str, other: str, language: str, register: Register) -> float:
    """How much likelier a name is among the other language's names than among this one's, nats per three letters."""
    one, two = (register.letters.get(k, Counter()) for k in (language, other))
    if min(len(one), len(two)) < FEW:
        return 0.0
    size = len(one.keys() | two.keys())

    def nats(held: Counter[str]) -> float:
        total, parts = held.total() + size, threes(name)
        return sum(log((held[part] + 1) / total) for part in parts) / len(parts)

    return nats(two) - nats(one)


def bare(name: str) -> str:
    """A name as the model may take it for another: without case, punctuation around its words, and a leading article."""
    words = [word.strip(".,;:!?\"'«»()") for word in name.casefold().replace("’", "'").split()]
    words = [word for word in words if word]
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)


def _names(thing: Entity) -> Iterator[tuple[str, str]]:
    for language in thing.labels:
        for name in thing.names(language):
            yield language, name.casefold()
