"""[gates]: what a candidate must reach. A name each; a number, `false` (off), or {least or most, surely, sample}.

`least` or `most` bounds the number itself, `surely` the bad end of its 95 % interval, `sample` is how many probes are needed.
With `doubt = "passes"` a gate fails only where the whole interval is out of bounds: for what a batch gives few probes of.
Edit prompts are all asked, so they need no sample; what generalises from a sample (known facts, neighbours) does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from factd.daemon.config.tables import Table
from factd.daemon.gates.policy import Gate


class Threshold(Table):
    """What one gate asks for."""

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
    def _of_short_forms(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | dict):
            if value is False:
                return {"bound": None}
            return value
        if not isinstance(value, dict):
            return {"bound": value}
        given = dict(value)
        bounds = [given.pop(name) for name in ("least", "most") if name in given]
        if len(bounds) > 1 or (bounds and "bound" in given):
            raise ValueError("give one of least and most")
        return given | ({"bound": bounds[0]} if bounds else {})


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a gate is about."""

    check: str
    metric: str
    where: Literal["write", "served", "measured"]  # languages that must have been measured
    against: Literal["value", "base", "live"] = "value"
    more_is_better: bool = True
    of: Literal["new", "earlier", "any"] = "any"


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


UNBOUNDED = ("drift", "norms")  # their numbers are no shares of probes


class GatesTable(Table):
    """[gates] what a candidate must reach in every written or served language."""

    least_sample: int = Field(default=2, ge=1)
    """Smallest number of questions for every share; a gate may ask for more."""
    # shares of right answers, greedy
    edit_generation: Threshold = Threshold(bound=0.90)
    paraphrase_generation: Threshold = Threshold(bound=0.70, surely=0.20, sample=2)
    fact_right: float = Field(default=0.25, ge=0, le=1)
    """Share of right answers that each new fact needs, in each written language."""
    neighbourhood_success: Threshold = Threshold(bound=0.80, doubt="passes", sample=8)
    neighbourhood_lost: Threshold = Threshold(
        bound=0.15, doubt="passes", sample=8
    )  # against the base model
    known_kept: Threshold = Threshold(bound=0.95, surely=0.88, sample=30)
    known_lost: Threshold = Threshold(bound=0.06, surely=0.14)  # against the live release
    namesakes_kept: Threshold = Threshold(bound=0.75, doubt="passes", sample=8)
    retention: Threshold = Threshold(bound=0.80)
    retention_lost: Threshold = Threshold(
        bound=0.05, doubt="passes", sample=8
    )  # against the live release
    temporal_kept: Threshold = Threshold()
    """Off, because an edit of MEMIT's kind also changes what the model says about the past."""
    alias_generation: Threshold = Threshold()
    fidelity_lost: Threshold = Threshold(bound=0.03, doubt="passes")
    # general text
    perplexity_ratio: Threshold = Threshold(bound=1.10, surely=1.20, sample=10)
    perplexity_grown: Threshold = Threshold(bound=0.05)
    kl: Threshold = Threshold(bound=0.15, surely=0.30, sample=10)
    """In nats per token."""
    rank_lost: Threshold = Threshold(bound=0.15, doubt="passes")
    # weights
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
                raise ValueError(f"{bound:g} is no share from 0 to 1")
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
                        f"{language}.{name} is no gate; there are: {', '.join(MEASURES)}"
                    )
        return value


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The gates of a configuration."""

    table: GatesTable
    gates: tuple[Gate, ...]

    @classmethod
    def of(cls, table: GatesTable, *, write: Sequence[str], served: Sequence[str]) -> "Gates":
        """The gates of a table for the written and the served languages."""
        return cls(table=table, gates=gates_from(table, write=write, served=served))

    @property
    def fact_right(self) -> float:
        """The share of a fact's own probes that must be answered right."""
        return self.table.fact_right


def gates_from(
    table: GatesTable, *, write: Sequence[str], served: Sequence[str]
) -> tuple[Gate, ...]:
    """The gates of a table, one per language where languages must have been measured."""
    found: list[Gate] = []
    for name, measure in MEASURES.items():
        spoken: dict[str, tuple[str | None, ...]] = {
            "write": tuple(write),
            "served": tuple(served),
            "measured": (None,),
        }
        languages = [*spoken[measure.where]]
        own = [k for k in table.languages if name in table.languages[k]]
        languages += [k for k in own if k not in languages]
        found += _of_languages(name, measure, table, languages)
    return tuple(found)


def _of_languages(
    name: str, measure: Measure, table: GatesTable, languages: Sequence[str | None]
) -> Iterator[Gate]:
    for language in languages:
        own = table.languages.get(language or "", {})
        threshold: Threshold = own.get(name, getattr(table, name))
        if is_on(measure, threshold):
            yield Gate(
                name=name,
                check=measure.check,
                metric=measure.metric,
                against=measure.against,
                more_is_better=measure.more_is_better,
                bound=threshold.bound or 0.0,
                surely=threshold.surely,
                doubt_passes=threshold.doubt == "passes",
                sample=threshold.sample
                if measure.check in UNBOUNDED
                else max(threshold.sample, table.least_sample),
                language=language,
                of=measure.of,
            )


def is_on(measure: Measure, threshold: Threshold) -> bool:
    """The gate asks for something: no bound, or a share of at least 0, asks for nothing."""
    if threshold.bound is None:
        return False
    return threshold.bound > 0 or measure.against != "value" or not measure.more_is_better
