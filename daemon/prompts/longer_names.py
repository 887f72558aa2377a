"""The longer names that an answer must not be mistaken for, from the names that facts use."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from factd.editor.scoring.judge import SortedNames, longer_names
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.editor.scoring.score import Probe


def with_longer_names(probes: "Iterable[Probe]", facts: Iterable[Fact]) -> "tuple[Probe, ...]":
    """The probes with the names of the facts' subjects and objects that begin with their labels.

    A probe of "Turkish lira" gets "Turkish lira (1922–2005)", so that this answer is not right.
    """
    asked = tuple(probes)
    things = {thing.id: thing for fact in facts for thing in (fact.subject, fact.object)}
    names = {
        language: SortedNames(n for thing in things.values() for n in thing.names(language))
        for language in {probe.language for probe in asked}
    }
    return tuple(replace(p, longer=longer_names(p.accepted, names[p.language])) for p in asked)
