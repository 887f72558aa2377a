"""The gates of a configuration: for each measure that has a threshold, one gate per language."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from factd.daemon.gates.measures import MEASURES, UNBOUNDED, GatesTable, Measure, Threshold
from factd.daemon.gates.policy import Gate


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The table [gates] and the gates that it leads to."""

    table: GatesTable
    gates: tuple[Gate, ...]

    @classmethod
    def of(cls, table: GatesTable, *, write: Sequence[str], served: Sequence[str]) -> "Gates":
        """The gates of a table for the written and the served languages."""
        return cls(table=table, gates=gates_from(table, write=write, served=served))

    @property
    def fact_right(self) -> float:
        """The share of right answers that each new fact needs among its own probes."""
        return self.table.fact_right


def gates_from(
    table: GatesTable, *, write: Sequence[str], served: Sequence[str]
) -> tuple[Gate, ...]:
    """The gates of a table.

    A measure that must have been measured in some languages gets one gate for each of them. Any
    other gets one gate for whatever was measured, and one for each language with its own threshold.
    """
    languages: dict[str, tuple[str | None, ...]] = {
        "write": tuple(write),
        "served": tuple(served),
        "measured": (None,),
    }
    gates: list[Gate] = []
    for name, measure in MEASURES.items():
        required = languages[measure.where]
        own = [k for k in table.languages if name in table.languages[k] and k not in required]
        gates += _gates_of(name, measure, table, [*required, *own])
    return tuple(gates)


def _gates_of(
    name: str, measure: Measure, table: GatesTable, languages: Sequence[str | None]
) -> Iterator[Gate]:
    for language in languages:
        own = table.languages.get(language or "", {})
        threshold: Threshold = own.get(name, getattr(table, name))
        if is_on(measure, threshold):
            yield _gate(name, measure, threshold, language, least_sample=table.least_sample)


def _gate(
    name: str, measure: Measure, threshold: Threshold, language: str | None, *, least_sample: int
) -> Gate:
    is_share = measure.check not in UNBOUNDED
    return Gate(
        name=name,
        check=measure.check,
        metric=measure.metric,
        against=measure.against,
        more_is_better=measure.more_is_better,
        bound=threshold.bound or 0.0,
        surely=threshold.surely,
        doubt_passes=threshold.doubt == "passes",
        sample=max(threshold.sample, least_sample) if is_share else threshold.sample,
        language=language,
        of=measure.of,
    )


def is_on(measure: Measure, threshold: Threshold) -> bool:
    """Whether the threshold asks for something. No bound, or a share of at least 0, does not."""
    if threshold.bound is None:
        return False
    return threshold.bound > 0 or measure.against != "value" or not measure.more_is_better
