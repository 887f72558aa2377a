"""Names of things: every label that a source ever used. They can be merged in any order."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC

from factd.store.model.facts import FactUpdate

SEARCH_CHARACTERS = 200  # a search compares only this many characters of a name

Labels = Mapping[str, Mapping[str, str]]  # language -> label -> last event time that used it


@dataclass(frozen=True, kw_only=True)
class Names:
    """The current and earlier names of a thing."""

    labels: Labels = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def renamed(self) -> bool:
        """Whether any language has had more than one label."""
        return any(len(times) > 1 for times in self.labels.values())

    def current(self, language: str) -> str | None:
        """The label that was used last; None if the language has no label."""
        times = self.labels.get(language)
        return max(times, key=lambda label: (times[label], label)) if times else None

    @property
    def folded(self) -> frozenset[str]:
        """Every label in the form that a search compares."""
        return frozenset(folded(label) for times in self.labels.values() for label in times)

    def changes(self) -> tuple[tuple[str, str, str], ...]:
        """(language, earlier label, current label), by language, the oldest label first."""
        return tuple(
            (language, label, str(self.current(language)))
            for language, times in sorted(self.labels.items())
            for label in sorted(times, key=lambda label: (times[label], label))
            if label != self.current(language)
        )


def folded(name: str) -> str:
    """A name in the form that a search compares, without capitals and compatibility forms."""
    return unicodedata.normalize("NFKC", name).casefold().strip()[:SEARCH_CHARACTERS]


def merged_names(one: Names, other: Names) -> Names:
    """The union of two sets of names. The operation is commutative, associative and idempotent."""
    labels = {}
    for language in sorted({*one.labels, *other.labels}):
        first, second = one.labels.get(language, {}), other.labels.get(language, {})
        labels[language] = {
            k: max(first.get(k, ""), second.get(k, "")) for k in sorted({*first, *second})
        }
    aliases = {
        k: tuple(sorted({*one.aliases.get(k, ()), *other.aliases.get(k, ())}))
        for k in sorted({*one.aliases, *other.aliases})
    }
    return Names(labels=labels, aliases=aliases)


def names_in_claims(updates: Iterable[FactUpdate]) -> dict[str, Names]:
    """The names that some claims use, by the id of the thing."""
    by_id: dict[str, Names] = {}
    for update in updates:
        at = update.event_time.astimezone(UTC).isoformat()
        for entity in (update.subject, update.object):
            labels = {k: {v: at} for k, v in entity.labels.items()}
            aliases = {k: tuple(sorted(v)) for k, v in entity.aliases.items() if v}
            names = Names(labels=labels, aliases=aliases)
            earlier = by_id.get(entity.id)
            by_id[entity.id] = merged_names(earlier, names) if earlier else names
    return by_id
