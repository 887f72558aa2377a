"""[gates]: the thresholds that a candidate must reach.

To add a gate, write two lines of one name here: in `MEASURES`, which measurement of a report the
gate judges, and in `GatesTable`, its default threshold. `gates.policy` judges.

In the configuration a threshold is a number, `false` (the gate is off), or a table
{least or most, surely, doubt, sample}. `least` or `most` bounds the number itself. `surely` bounds
the bad end of its 95 % interval. `sample` is the smallest number of probes. With `doubt = "passes"`
a gate fails only if the whole interval is out of bounds; that is for measurements of which a batch
has few probes. Edit prompts need no `sample`, because every one of them is asked. What generalises
from a sample does: known facts and neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from factd.daemon.config.tables import Table


class Threshold(Table):
    """The threshold of one gate."""

    bound: float | None = None
    """The bound for the number itself; no bound: the gate is off."""
    surely: float | None = None
    """The bound for the bad end of the 95 % interval."""
    doubt: Literal["refuses", "passes"] = "refuses"
    """What doubt does. "passes": the gate fails only if the whole interval is out of bounds."""
    sample: int = Field(default=1, ge=1)
    """Smallest number of questions; fewer are inconclusive."""

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: Any) -> Any:
        if value is False:
            return {"bound": None}
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"bound": value}
        return _with_bound(value) if isinstance(value, dict) else value


def _with_bound(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with `least` or `most` as its `bound`."""
    given = dict(table)
    bounds = [given.pop(name) for name in ("least", "most") if name in given]
    if len(bounds) > 1 or (bounds and "bound" in given):
        raise ValueError("write least or most, not both")
    return given | ({"bound": bounds[0]} if bounds else {})


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which measurement of a report a gate judges."""

    check: str
    metric: str  # a pattern: "layer.*.leverage_max"
    where: Literal["write", "served", "measured"]  # languages that must have been measured
    against: Literal["value", "base", "live"] = "value"  # the number itself, or the loss against it
    more_is_better: bool = True
    of: Literal["new", "earlier", "any"] = "any"  # the gate needs facts of this kind


MEASURES: Mapping[str, Measure] = {
    "edit_generation": Measure(check="efficacy", metric="generation", where="write", of="new"),
    "paraphrase_generation": Measure(
        check="paraphrase", metric="generation", where="write", of="new"
    ),
    "neighbourhood_success": Measure(check="neighbourhood", metric="success", where="measured"),
    "neighbourhood_lost": Measure(
        check="neighbourhood", metric="generation", where="measured", against="base"
    ),
    "known_kept": Measure(check="known_facts", metric="kept", where="served"),
    "known_lost": Measure(check="known_facts", metric="kept", where="measured", against="live"),
    "retention": Measure(check="retention", metric="generation", where="write", of="earlier"),
    "retention_lost": Measure(
        check="retention", metric="generation", where="measured", against="live", of="earlier"
    ),
    "namesakes_kept": Measure(check="namesakes", metric="kept", where="measured"),
    "temporal_kept": Measure(check="temporal", metric="kept", where="measured"),
    "alias_generation": Measure(check="portability", metric="alias", where="measured"),
    "fidelity_lost": Measure(check="fidelity", metric="share", where="measured", against="live"),
    "perplexity_ratio": Measure(
        check="drift", metric="perplexity_ratio", where="served", more_is_better=False
    ),
    "perplexity_grown": Measure(
        check="drift",
        metric="perplexity_ratio",
        where="measured",
        against="live",
        more_is_better=False,
    ),
    "kl": Measure(check="drift", metric="kl", where="served", more_is_better=False),
    "rank_lost": Measure(
        check="rank_consistency", metric="rankc", where="measured", against="base"
    ),
    "leverage": Measure(
        check="norms", metric="layer.*.leverage_max", where="measured", more_is_better=False
    ),
    "weight_norm": Measure(
        check="norms", metric="layer.*.weight_norm_ratio", where="measured", more_is_better=False
    ),
    "value_reach": Measure(
        check="norms", metric="value_reach_max", where="measured", more_is_better=False
    ),
}


UNBOUNDED = ("drift", "norms")  # checks whose numbers are not shares of probes, from 0 to 1


class GatesTable(Table):
    """[gates] what a candidate must reach in every written or served language"""

    least_sample: int = Field(default=2, ge=1)
    """Smallest number of questions for every share; a gate may ask for more."""
    # Shares of right answers, decoded greedily.
    edit_generation: Threshold = Threshold(bound=0.90)
    paraphrase_generation: Threshold = Threshold(bound=0.70, surely=0.20, sample=2)
    fact_right: float = Field(default=0.25, ge=0, le=1)
    """Share of right answers that each new fact needs, in each written language."""
    neighbourhood_success: Threshold = Threshold(bound=0.80, doubt="passes", sample=8)
    neighbourhood_lost: Threshold = Threshold(bound=0.15, doubt="passes", sample=8)
    known_kept: Threshold = Threshold(bound=0.95, surely=0.88, sample=30)
    known_lost: Threshold = Threshold(bound=0.06, surely=0.14)
    namesakes_kept: Threshold = Threshold(bound=0.75, doubt="passes", sample=8)
    retention: Threshold = Threshold(bound=0.80)
    retention_lost: Threshold = Threshold(bound=0.05, doubt="passes", sample=8)
    temporal_kept: Threshold = Threshold()
    """Off, because an edit of MEMIT's kind also changes what the model says about the past."""
    alias_generation: Threshold = Threshold()
    fidelity_lost: Threshold = Threshold(bound=0.03, doubt="passes")
    # Drift on general text.
    perplexity_ratio: Threshold = Threshold(bound=1.10, surely=1.20, sample=10)
    perplexity_grown: Threshold = Threshold(bound=0.05)
    kl: Threshold = Threshold(bound=0.15, surely=0.30, sample=10)
    """In nats per token."""
    rank_lost: Threshold = Threshold(bound=0.15, doubt="passes")
    # Norms of the weights.
    leverage: Threshold = Threshold(bound=0.999)
    weight_norm: Threshold = Threshold()
    """Off, because the right bound depends on the model."""
    value_reach: Threshold = Threshold(bound=1.01)
    """‖z - z0‖ divided by what the settings allow."""
    languages: Mapping[str, Mapping[str, Threshold]] = Field(default_factory=dict)
    """Gates for single languages, like [gates.languages.ca]."""

    @field_validator(*MEASURES)
    @classmethod
    def _is_share(cls, value: Threshold, info: ValidationInfo) -> Threshold:
        share = MEASURES[str(info.field_name)].check not in UNBOUNDED
        for bound in (value.bound, value.surely):
            if bound is not None and (bound < 0 or (share and bound > 1)):
                raise ValueError(f"{bound:g} is not a share; write a number from 0 to 1")
        return value

    @field_validator("languages")
    @classmethod
    def _are_gates(
        cls, value: Mapping[str, Mapping[str, Threshold]]
    ) -> Mapping[str, Mapping[str, Threshold]]:
        for language, table in value.items():
            for name in table:
                if name not in MEASURES:
                    raise ValueError(
                        f"there is no gate {language}.{name}; the gates are: {', '.join(MEASURES)}"
                    )
        return value
