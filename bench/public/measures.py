"""From outcomes to measures with 95 % intervals. Pure.

Questions of one record are not independent: where a record has several, the interval is a bootstrap
over records. docs/explanation/editing.md §5 defines the measures.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from factd.bench.public.asking import Outcome
from factd.editor.scoring.intervals import bootstrap_interval, harmonic_mean, wilson_interval

FIELDS = {"success": "success", "accuracy": "accurate", "magnitude": "magnitude"}
NAMES = {  # kind of probe -> its name in the table
    "edit": "edit",
    "paraphrase": "paraphrase",
    "neighbourhood": "neighbourhood",
    "same_subject": "same subject",
    "bystander": "bystanders",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredShare:
    """One number of a row, with its interval."""

    value: float
    low: float  # 95 % confidence; nan if there are too few records
    high: float
    questions: int
    records: int


def by_record(outcomes: Sequence[Outcome], kind: str, field: str) -> dict[str, list[float]]:
    """The values of one field of one kind of probe, by record; what was not measured is left out.

    field: of `Outcome`.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        value = getattr(outcome, field)
        if outcome.kind == kind and value is not None:
            found[outcome.record].append(float(value))
    return dict(found)


def measure(groups: Mapping[str, Sequence[float]], *, share: bool) -> MeasuredShare | None:
    """The mean over all questions; None if there is no question.

    share: the values are 0 or 1. Wilson's interval is used for shares with one question per record,
    and for shares of 0 and 1, where a bootstrap has no width; there it counts records.
    """
    values = [value for group in groups.values() for value in group]
    if not values:
        return None
    mean = fmean(values)
    alone = len(values) == len(groups)
    if share and (alone or mean in (0.0, 1.0)):
        low, high = wilson_interval(round(mean * len(groups)), len(groups))
    else:
        sums = [sum(group) for group in groups.values()]
        low, high = bootstrap_interval(sums, [len(group) for group in groups.values()])
    return MeasuredShare(value=mean, low=low, high=high, questions=len(values), records=len(groups))


def measures(outcomes: Sequence[Outcome]) -> dict[str, MeasuredShare]:
    """All measures that the outcomes give, such as "edit success" and "bystanders right"."""
    found: dict[str, MeasuredShare] = {}
    for kind in dict.fromkeys(o.kind for o in outcomes):
        for name, field in {**FIELDS, "right": "right"}.items():
            if kind == "bystander" and name != "right":
                continue
            made = measure(by_record(outcomes, kind, field), share=name != "magnitude")
            if made is not None:
                found[f"{NAMES.get(kind, kind)} {name}"] = made
    return found


def score(found: Mapping[str, MeasuredShare]) -> float | None:
    """MEMIT's score: the harmonic mean of the three successes; None if one is missing."""
    names = [f"{kind} success" for kind in ("edit", "paraphrase", "neighbourhood")]
    if not all(name in found for name in names):
        return None
    return harmonic_mean([found[name].value for name in names])
