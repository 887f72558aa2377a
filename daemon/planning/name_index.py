"""The index of names and kinds that the store knows, pure. New facts are screened against it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import log

from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact

MIN_COUNT = 20  # of fewer names, pairs or trigrams no share is computed
ARTICLES = frozenset(  # of the seven languages of the catalogue
    {"the", "a", "an", "el", "la", "los", "las", "lo", "un", "una", "els", "les", "en", "na"}
    | {"le", "il", "gli", "i", "o", "os", "as", "der", "die", "das"}
)
Names = Mapping[str, Mapping[str, set[str]]]  # entity -> language -> casefolded names
Owners = Mapping[tuple[str, str], set[str]]  # (language, casefolded name) -> entities


@dataclass(frozen=True, kw_only=True)
class NameIndex:
    """What trusted facts say about names. Entities are ids; names are casefolded."""

    names: Mapping[str, Mapping[str, frozenset[str]]]  # entity -> language -> names
    owners: Mapping[tuple[str, str], frozenset[str]]  # (language, name) -> entities
    kinds: Mapping[str, frozenset[str]]  # entity -> its kinds in the catalogue's relations
    pair_counts: Mapping[str, int]  # relation -> subjects whose object is known
    facts: Mapping[tuple[str, str, str], tuple[Fact, ...]]  # (relation, language, subject's name)
    names_with_word: Mapping[tuple[str, str], frozenset[tuple[str, ...]]]  # (language, word)
    trigrams: Mapping[str, Counter[str]]  # language -> trigram -> how often names hold it
    # (kind, language, other language) -> share of names of several words that are the same in both
    shared_names: Mapping[tuple[str, str, str], float]

    @classmethod
    def of(cls, known: Sequence[Fact], catalogue: Catalogue) -> "NameIndex":
        """The index of facts that are trusted: those of the base model, and the live ones."""
        names: dict[str, dict[str, set[str]]] = {}
        owners: dict[tuple[str, str], set[str]] = {}
        kinds: dict[str, set[str]] = {}
        subjects: dict[str, set[str]] = {}
        facts: dict[tuple[str, str, str], list[Fact]] = {}
        for fact in known:
            for language, label in fact.subject.labels.items():
                facts.setdefault((fact.relation, language, bare_name(label)), []).append(fact)
            relation = catalogue[fact.relation]
            subjects.setdefault(fact.relation, set()).add(fact.subject.id)
            for entity, kind in (
                (fact.subject, relation.subject_kind),
                (fact.object, relation.object_kind),
            ):
                kinds.setdefault(entity.id, set()).add(kind)
                for language, name in _names_of(entity):
                    names.setdefault(entity.id, {}).setdefault(language, set()).add(name)
                    owners.setdefault((language, name), set()).add(entity.id)
        return cls(
            names={id_: {k: frozenset(v) for k, v in own.items()} for id_, own in names.items()},
            owners={k: frozenset(v) for k, v in owners.items()},
            kinds={k: frozenset(v) for k, v in kinds.items()},
            pair_counts={k: len(v) for k, v in subjects.items()},
            facts={k: tuple(v) for k, v in facts.items()},
            names_with_word=_names_with_word(owners),
            trigrams=_trigrams(owners),
            shared_names=_shared_names(names, kinds),
        )


def _names_of(entity: Entity) -> Iterator[tuple[str, str]]:
    for language in entity.labels:
        for name in entity.names(language):
            yield language, name.casefold()


def _names_with_word(owners: Owners) -> dict[tuple[str, str], frozenset[tuple[str, ...]]]:
    """(language, word) -> the names of several words that hold the word, split into words."""
    names: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for language, name in owners:
        words = tuple(name.split())
        for word in words if len(words) > 1 else ():
            names.setdefault((language, word), set()).add(words)
    return {key: frozenset(found) for key, found in names.items()}


def _trigrams(owners: Owners) -> dict[str, Counter[str]]:
    trigrams: dict[str, Counter[str]] = {}
    for language, name in owners:
        trigrams.setdefault(language, Counter()).update(trigrams_of(name))
    return trigrams


def _shared_names(names: Names, kinds: Mapping[str, set[str]]) -> dict[tuple[str, str, str], float]:
    """The share of entities with a name in common, of those with long names in two languages.

    A long name has several words. The keys are (kind, language, other language).
    """
    counts: dict[tuple[str, str, str], list[bool]] = {}
    for entity, own in names.items():
        long = {k: {name for name in v if " " in name} for k, v in own.items()}
        for one, other in permutations(sorted(k for k, v in long.items() if v), 2):
            for kind in kinds[entity]:
                counts.setdefault((kind, one, other), []).append(bool(long[one] & long[other]))
    return {key: sum(v) / len(v) for key, v in counts.items() if len(v) >= MIN_COUNT}


def trigrams_of(name: str) -> list[str]:
    """Every three characters of a name that stand together, with a space at either end."""
    text = f" {name.casefold()} "
    return [text[n : n + 3] for n in range(len(text) - 2)]


def likelihood_gain(name: str, other: str, language: str, index: NameIndex) -> float:
    """How much likelier a name is among the other language's names than among this language's.

    In nats per trigram, with add-one smoothing; 0 if either language has too few names to tell.
    """
    own, foreign = (index.trigrams.get(k, Counter()) for k in (language, other))
    if min(len(own), len(foreign)) < MIN_COUNT:
        return 0.0
    size = len(own.keys() | foreign.keys())

    def nats(counts: Counter[str]) -> float:
        total, trigrams = counts.total() + size, trigrams_of(name)
        return sum(log((counts[trigram] + 1) / total) for trigram in trigrams) / len(trigrams)

    return nats(foreign) - nats(own)


def bare_name(name: str) -> str:
    """A name without case, punctuation around its words, and a leading article.

    The model may take two names for one another if they are bare the same.
    """
    words = [word.strip(".,;:!?\"'«»()") for word in name.casefold().replace("’", "'").split()]
    words = [word for word in words if word]
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)
