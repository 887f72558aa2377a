"""From rows to the document: a line for each method and strength, and the comparison. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import exp, isfinite
from statistics import fmean
from typing import Any

from factd.bench.measure import document as bench_document
from factd.bench.public.curves import GAINS, Curve, common_level, readings
from factd.bench.public.measures import MeasuredShare, measures, score
from factd.bench.public.plan import BASE, Entry
from factd.bench.public.records import Drawn
from factd.bench.public.rows import MethodRow, value_seconds
from factd.editor.scoring.intervals import bootstrap_interval

REFERENCE = "memit"  # the method that the others are compared with
BELOW_BASE = (0.02, 0.05, 0.1)  # neighbourhood success given up, where methods are compared
COLUMNS = {  # of the table for a terminal: measure -> head
    "edit right": "edit",
    "paraphrase right": "paraphr.",
    "same subject right": "same s.",
    "bystanders right": "bystand.",
    "edit success": "ES",
    "edit accuracy": "EA",
    "paraphrase success": "PS",
    "neighbourhood success": "NS",
    "neighbourhood accuracy": "NA",
    "neighbourhood magnitude": "NM",
}

Made = tuple[Entry, Drawn, MethodRow]


def document(made: Sequence[Made], about: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the bench: environment, table, full figures, comparison."""
    lines = [_line(same, made) for same in _by_entry(made)]
    return bench_document(
        "public",
        "cpu",
        [table_row(line) for line in lines],
        **about,
        edits=[len(d.records) for d in _draws(made)],
        bystanders=[len(d.bystanders) for d in _draws(made)],
        figures=lines,
        comparison=comparison(made),
    )


def _draws(made: Sequence[Made]) -> list[Drawn]:
    return list({drawn.seed: drawn for _, drawn, _ in made}.values())


def _by_entry(made: Sequence[Made]) -> list[list[Made]]:
    """The rows of each method and strength, over the seeds."""
    found: dict[tuple[str, float | None], list[Made]] = {}
    for one in made:
        found.setdefault((one[0].method, one[0].value), []).append(one)
    return list(found.values())


def _line(same: Sequence[Made], made: Sequence[Made]) -> dict[str, Any]:
    """All figures of one method at one strength, pooled over the seeds."""
    entry = same[0][0]
    outcomes = [outcome for _, _, row in same for outcome in row.outcomes]
    found = measures(outcomes)
    return {
        "method": entry.method,
        "strength": entry.strength or None,
        "value": entry.value,
        "measures": {name: _measure_json(m) for name, m in found.items()},
        "by_seed": [
            {name: m.value for name, m in measures(row.outcomes).items()} for _, _, row in same
        ],
        "score": score(found),
        **text_figures([row for _, _, row in same]),
        "norm_ratios": _means([row.norms for _, _, row in same]),
        "seconds_per_edit": seconds_per_edit(same, made),
        "seconds": [dict(row.seconds) for _, _, row in same],
        "wall_seconds": [row.wall_seconds for _, _, row in same],
        "load": [row.load for _, _, row in same],
        "peak_mib": max((r.peak_mib for _, _, r in same if r.peak_mib), default=None),
        "extra_tokens": same[0][2].extra_tokens,
        "settings": dict(same[0][2].settings),
    }


def _measure_json(found: MeasuredShare) -> dict[str, Any]:
    return {k: _finite(v) for k, v in asdict(found).items()}


def _finite(value: Any) -> Any:
    """A number as JSON has it: NaN and infinity are null."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(table[name] for table in tables) for name in tables[0]}


def text_figures(rows: Sequence[MethodRow]) -> dict[str, Any]:
    """Perplexity ratio and KL to the base on held-out text, with bootstrap intervals over texts.

    Null if the weights are the base's, as in context.
    """
    texts = [row.text for row in rows if row.text]
    if not texts:
        return {"perplexity_ratio": None, "perplexity": None, "kl": None}
    tokens = [n for text in texts for n in text["tokens"]]
    after = [nll for text in texts for nll in text["nll"]]
    before = [nll for text in texts for nll in text["base_nll"]]
    kl = [v for text in texts for v in text["kl"]]
    rises = [a - b for a, b in zip(after, before, strict=True)]
    rise = sum(rises) / sum(tokens)
    low, high = bootstrap_interval(rises, tokens)
    kl_low, kl_high = bootstrap_interval(kl, tokens)
    return {
        "perplexity_ratio": {k: _finite(exp(v)) for k, v in _ends(rise, low, high).items()},
        "perplexity": exp(sum(after) / sum(tokens)),
        "kl": {k: _finite(v) for k, v in _ends(sum(kl) / sum(tokens), kl_low, kl_high).items()},
    }


def _ends(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def seconds_per_edit(same: Sequence[Made], made: Sequence[Made]) -> float | None:
    """CPU seconds of one edit, the mean over the seeds.

    Later strengths of a curve take the values that its first row computed; their time is that row's
    time for a value, and their own time for the rest.
    """
    found = []
    for entry, drawn, row in same:
        if row.seconds_per_edit is None and "rest of an edit" in row.seconds:
            first = [
                value_seconds(r.seconds) / r.seconds["values computed"]
                for e, d, r in made
                if e.method == entry.method
                and d.seed == drawn.seed
                and r.seconds.get("values computed")
            ]
            found += [first[0] + row.seconds["rest of an edit"]] if first else []
        elif row.seconds_per_edit is not None:
            found.append(row.seconds_per_edit)
    return fmean(found) if found else None


def table_row(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line as a row of the table for a terminal."""
    found = line["measures"]
    ratio, kl = line["perplexity_ratio"], line["kl"]
    return {
        "method": line["method"],
        "strength": line["value"],
        **{head: found[name]["value"] if name in found else None for name, head in COLUMNS.items()},
        "ppl ratio": ratio["value"] if ratio else None,
        "KL": kl["value"] if kl else None,
        "ΔW/W max": max(line["norm_ratios"].values(), default=None),
        "s/edit": line["seconds_per_edit"],
        "MiB": line["peak_mib"],
    }


def comparison(made: Sequence[Made]) -> list[dict[str, Any]]:
    """All curves, read where they leave neighbours equally well alone."""
    points: dict[str, list[tuple[Any, ...]]] = {}
    for same in _by_entry(made):
        outcomes = tuple(outcome for _, _, row in same for outcome in row.outcomes)
        points.setdefault(same[0][0].method, []).append(outcomes)
    base = points.pop(BASE, None)
    curves = [Curve(name, tuple(found)) for name, found in points.items() if len(found) > 1]
    levels = {"the middle of what all curves reach": common_level(curves)}
    before = measures(base[0]).get("neighbourhood success") if base else None
    if before:
        levels |= {f"{less:g} below the base": before.value - less for less in BELOW_BASE}
    return [
        {"where": where, **{k: _finite(v) for k, v in asdict(reading).items()}}
        for where, level in levels.items()
        if isfinite(level)
        for gain in GAINS
        for reading in readings(curves, level, gain, REFERENCE)
    ]
