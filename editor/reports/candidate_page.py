"""The report of a candidate as one HTML file: the decision on top, what it rests on below; nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from markupsafe import Markup

from factd.editor.checks import Measurement
from factd.editor.exams.report import measurement_from
from factd.editor.reports.check_plots import check_figures
from factd.editor.reports.edit_page import TEMPLATES, Figures, inline_svg, number_text
from factd.editor.reports.plots import as_svg
from factd.editor.scoring.intervals import Difference

Row = Mapping[str, Any]
SHOWN_FACTS = 25  # facts that are shown at once; the others unfold
QUESTIONS = {  # the checks in the order they are shown, and what each asks
    "efficacy": "Do the prompts that facts were written with now end in the new object?",
    "paraphrase": "Do wordings that no edit used end in the new object?",
    "generation": "Greedy answers to both together; of facts, those with at least half of their answers right.",
    "neighbourhood": "Do other subjects of the same relation keep their own object?",
    "retention": "Are the facts that earlier releases wrote still answered?",
    "known_facts": "Of what the base model answers right, how much is still right, and in the same words?",
    "temporal": "Is a question about an earlier year still answered with the value of then?",
    "portability": "Does what was written reach other names of the subject, and what follows from it?",
    "transfer": "Are facts that were written in some languages answered in another?",
    "rank_consistency": "RankC: do two languages rank the candidates for an answer alike?",
    "fidelity": "Is the answer in the language of the prompt?",
    "drift": "Held-out text: perplexity against the base model (1: as good), and KL in nats per token.",
}
VERDICTS = {"pass": "✓ passed", "fail": "✗ failed", "inconclusive": "? inconclusive"}
AGAINST = {"value": "the value itself", "base": "difference to base", "live": "difference to live"}


@dataclass(frozen=True, kw_only=True)
class CandidatePage:
    """What the report of a candidate shows."""

    title: str  # "candidate 3: 69 facts"
    accepted: bool | None  # None: nothing was decided (checks run by hand)
    reasons: tuple[str, ...]  # why it was refused
    findings: tuple[Row, ...]  # one per gate and language, as a policy's decision gives them
    about: Row  # a line each: batch, method, delta, base, probe set, seconds, who, why
    report: Row  # `CheckReport.as_json`; an old one may lack what was not measured then
    names: Mapping[str, str]  # fact id -> "Croatia, currency: euro"
    set_aside: tuple[Row, ...] = ()  # {"fact", "reason", "evidence": {name: value}}
    history: tuple[Row, ...] = ()  # {"release": 3, "norms": {name: ratio}}, oldest first
    figures: Figures = field(default_factory=dict)  # more pictures


@dataclass(frozen=True, kw_only=True)
class ReportVerdict:
    """The decision in words."""

    kind: str  # names its colour: pass, fail, inconclusive, none
    word: str
    summary: str
    reasons: tuple[tuple[str, str], ...]  # (kind, sentence), what failed first


@dataclass(frozen=True, kw_only=True)
class CheckTable:
    """The measurements of one check, by metric."""

    check: str
    question: str
    metrics: Mapping[str, Sequence[Measurement]]
    base: bool  # there is a base model to compare with
    live: bool  # there is a live release to compare with


@dataclass(frozen=True, kw_only=True)
class ReportedFact:
    """What became of one fact, by language."""

    name: str
    new: bool  # False: an earlier release wrote it
    right: int
    asked: int
    languages: Mapping[str, Row]


def candidate_page(page: CandidatePage) -> str:
    """The page; complete without scripts, which only filter the answers."""
    report = page.report
    rows = tuple(measurement_from(row) for row in report.get("measurements") or ())
    figures = check_figures(rows, report.get("points") or {}, page.history) | dict(page.figures)
    found = reported_facts(report.get("facts") or (), page.names)
    return TEMPLATES.get_template("candidate.html").render(
        page=page,
        title=page.title,
        verdict=verdict(page),
        waiting=[f for f in page.findings if f["verdict"] != "pass"],
        passed=[f for f in page.findings if f["verdict"] == "pass"],
        figures={name: Markup(inline_svg(as_svg(drawn, name))) for name, drawn in figures.items()},
        tables=check_tables(rows),
        layers=norms_by_layer(rows),
        depths=layer_names(norms_by_layer(rows)),
        examples=sorted(report.get("examples") or (), key=worst_first),
        facts=found,
        languages=sorted({name for fact in found for name in fact.languages}),
        worst=SHOWN_FACTS,
        verdicts=VERDICTS,
        against=AGAINST,
        became=change_in_words,
        number=short_number,
        signed=signed_number,
        interval=interval_text,
        chance=p_value_text,
        sure=excludes_zero,
    )


def verdict(page: CandidatePage) -> ReportVerdict:
    """Accepted, refused, inconclusive (refused, yet nothing failed) or not decided, and why."""
    reasons = refusals(page)
    kind = {True: "pass", False: "fail", None: "none"}[page.accepted]
    if page.accepted is False and reasons and all(how == "inconclusive" for how, _ in reasons):
        kind = "inconclusive"
    word = {
        "pass": "Accepted",
        "fail": "Refused",
        "inconclusive": "Inconclusive",
        "none": "Not decided",
    }
    return ReportVerdict(kind=kind, word=word[kind], summary=summary(page, kind), reasons=reasons)


def refusals(page: CandidatePage) -> tuple[tuple[str, str], ...]:
    """What did not pass, as (verdict, sentence): what failed first, then what could not be decided."""
    found = {f["sentence"]: f["verdict"] for f in page.findings if f["verdict"] != "pass"}
    for reason in page.reasons:
        found.setdefault(reason, "inconclusive" if reason.startswith("INCONCLUSIVE") else "fail")
    return tuple(
        sorted(((kind, text) for text, kind in found.items()), key=lambda row: row[0] != "fail")
    )


def summary(page: CandidatePage, kind: str) -> str:
    """How many findings passed, and what follows."""
    counts = {name: sum(f["verdict"] == name for f in page.findings) for name in VERDICTS}
    words = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}
    told = ", ".join(f"{counts[name]} {words[name]}" for name in VERDICTS if counts[name])
    text = {
        "pass": "Every gate that was asked holds.",
        "fail": "It is not released.",
        "inconclusive": "It is not released: nothing failed, but not everything could be decided.",
        "none": "These checks were run by hand; nothing follows from them.",
    }[kind]
    return f"{text} Gates: {told}." if told else text


def check_tables(rows: Iterable[Measurement]) -> list[CheckTable]:
    """A table per check, the known ones in their order; the norms have one of their own."""
    held: dict[str, dict[str, list[Measurement]]] = {name: {} for name in QUESTIONS}
    for row in rows:
        if row.check != "norms":
            held.setdefault(row.check, {}).setdefault(row.metric, []).append(row)
    return [_table(check, metrics) for check, metrics in held.items() if metrics]


def _table(check: str, metrics: Mapping[str, Sequence[Measurement]]) -> CheckTable:
    rows = [row for found in metrics.values() for row in found]
    return CheckTable(
        check=check,
        question=QUESTIONS.get(check, ""),
        metrics=metrics,
        base=any(row.before is not None or row.to_base for row in rows),
        live=any(row.live is not None or row.to_live for row in rows),
    )


def norms_by_layer(rows: Iterable[Measurement]) -> dict[str, dict[str, float]]:
    """Quantity -> layer -> number, of the edited weights; what is of no layer stands under "all"."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.check == "norms":
            number, quantity = _of_layer(row.metric)
            found.setdefault(quantity.replace("_", " "), {})[number] = row.value
    return found


def _of_layer(metric: str) -> tuple[str, str]:
    parts = metric.split(".", 2)
    return (parts[1], parts[2]) if parts[0] == "layer" and len(parts) == 3 else ("all", metric)


def layer_names(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The layers' numbers in their order, "all" last."""
    return sorted(
        {n for held in found.values() for n in held}, key=lambda n: (n == "all", len(n), n)
    )


def reported_facts(rows: Iterable[Row], names: Mapping[str, str]) -> list[ReportedFact]:
    """Every fact with its languages, the worst answered first."""
    held: dict[str, dict[str, Row]] = {}
    for row in rows:
        held.setdefault(row["fact"], {})[row["language"]] = row
    found = [_fact(names.get(fact, fact), languages) for fact, languages in held.items()]
    return sorted(found, key=lambda f: (f.right / max(1, f.asked), not f.new, f.name))


def _fact(name: str, languages: Mapping[str, Row]) -> ReportedFact:
    return ReportedFact(
        name=name,
        new=any(row.get("new", True) for row in languages.values()),
        right=sum(row["right"] for row in languages.values()),
        asked=sum(row["asked"] for row in languages.values()),
        languages=languages,
    )


def worst_first(example: Row) -> tuple[bool, bool]:
    """Became wrong, wrong as before, became right, right as before."""
    was, now = bool(example.get("was_right")), bool(example["right"])
    return now, was if now else not was


def change_in_words(example: Row) -> str:
    """What an edit made of an answer, in words; where the base's was not judged, only what it is now."""
    now = "right" if example["right"] else "wrong"
    if "was_right" not in example:
        return now
    return f"stayed {now}" if example["was_right"] == example["right"] else f"became {now}"


def short_number(value: Any) -> str:
    """Three decimals, or one digit of what is smaller than they show; a dash where there is no number."""
    if isinstance(value, float) and 0 < abs(value) < 0.0005:
        return f"{value:.0e}"
    return number_text(value).replace("-", "−") if isinstance(value, float) else number_text(value)


def signed_number(value: float) -> str:
    """A difference with its sign."""
    return short_number(value) if not isfinite(value) or value <= 0 else f"+{short_number(value)}"


def interval_text(low: float, high: float, *, signs: bool = False) -> str:
    """The ends of an interval; nothing where there is none."""
    text = signed_number if signs else short_number
    return f"{text(low)} to {text(high)}" if isfinite(low) and isfinite(high) else ""


def p_value_text(p_value: float) -> str:
    """McNemar's p."""
    return "<0.001" if p_value < 0.001 else short_number(p_value)


def excludes_zero(difference: Difference) -> bool:
    """The interval does not hold 0."""
    return difference.low > 0 or difference.high < 0
