"""Names of things, pure: every label that a source ever used, in a form whose union does not depend on order."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC

from factd.store.model.facts import FactUpdate

LOOKED_FOR = 200  # characters of a name that a search compares

Labels = Mapping[str, Mapping[str, str]]  # language -> label -> the last event time that used it


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a thing is and was called."""

    labels: Labels = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def renamed(self) -> bool:
        """Some language has had more than one label."""
        return any(len(found) > 1 for found in self.labels.values())

    def current(self, language: str) -> str | None:
        """The label that was used last."""
        found = self.labels.get(language)
        return max(found, key=lambda label: (found[label], label)) if found else None

    @property
    def folded(self) -> frozenset[str]:
        """Every label, as a search compares it."""
        return frozenset(folded(label) for found in self.labels.values() for label in found)

    def changes(self) -> tuple[tuple[str, str, str], ...]:
        """(language, an earlier label, the current one)."""
        return tuple(
            (language, label, str(self.current(language)))
            for language, found in sorted(self.labels.items())
            for label in sorted(found, key=lambda label: (found[label], label))
            if label != self.current(language)
        )


def folded(name: str) -> str:
    """A name as a search compares it: neither capitals nor compatibility forms matter."""
    return unicodedata.normalize("NFKC", name).casefold().strip()[:LOOKED_FOR]


def joined(one: Names, other: Names) -> Names:
    """Both: commutative, associative, and the same again changes nothing."""
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


def named(updates: Iterable[FactUpdate]) -> dict[str, Names]:
    """The names that some claims use, by the thing's id."""
    found: dict[str, Names] = {}
    for update in updates:
        at = update.event_time.astimezone(UTC).isoformat()
        for entity in (update.subject, update.object):
            labels = {k: {v: at} for k, v in entity.labels.items()}
            aliases = {k: tuple(sorted(v)) for k, v in entity.aliases.items() if v}
            names = Names(labels=labels, aliases=aliases)
            found[entity.id] = joined(found[entity.id], names) if entity.id in found else names
    return found
