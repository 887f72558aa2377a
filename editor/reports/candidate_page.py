"""The report of a candidate as one HTML file: the decision on top, its evidence below.

The page loads nothing from elsewhere.
"""

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
SHOWN_FACTS = 25  # the other facts unfold
QUESTIONS = {  # the checks in the order in which they are shown, and the question of each
    "efficacy": "Do the prompts that facts were written with now end in the new object?",
    "paraphrase": "Do wordings that no edit used end in the new object?",
    "generation": (
        "Right greedy answers to both together. "
        "A fact is right if at least half of its answers are."
    ),
    "neighbourhood": "Do other subjects of the same relation keep their own object?",
    "retention": "Are the facts that earlier releases wrote still answered?",
    "known_facts": (
        "Of the questions that the base model answers right: "
        "how many are still right, and in the same words?"
    ),
    "temporal": "Is a question about an earlier year still answered with the value of then?",
    "portability": (
        "Is a new fact used under other names of its subject, and in questions that follow from it?"
    ),
    "transfer": "Are facts answered in a language they were not written in?",
    "rank_consistency": "RankC: do two languages rank the candidates for an answer alike?",
    "fidelity": "Is the answer in the language of the prompt?",
    "drift": (
        "Held-out text: perplexity against the base model (1 is as good), and KL in nats per token."
    ),
}
VERDICTS = {"pass": "✓ passed", "fail": "✗ failed", "inconclusive": "? inconclusive"}
AGAINST = {"value": "the value itself", "base": "difference to base", "live": "difference to live"}


@dataclass(frozen=True, kw_only=True)
class CandidatePage:
    """Everything that the report of a candidate shows."""

    title: str  # "candidate 3: 69 facts"
    accepted: bool | None  # None: nothing was decided (checks run by hand)
    reasons: tuple[str, ...]  # why the candidate was refused
    findings: tuple[Row, ...]  # one per gate and language, from the policy's decision
    about: Row  # batch, method, delta, base, probe set, seconds, who, why
    report: Row  # `CheckReport.as_json`; an old report may lack keys
    names: Mapping[str, str]  # fact id -> "Croatia, currency: euro"
    set_aside: tuple[Row, ...] = ()  # {"fact", "reason", "evidence": {name: value}}
    history: tuple[Row, ...] = ()  # {"release": 3, "norms": {name: ratio}}, oldest first
    figures: Figures = field(default_factory=dict)  # shown after those of the report


@dataclass(frozen=True, kw_only=True)
class ReportVerdict:
    """The decision in words."""

    kind: str  # pass, fail, inconclusive or none; chooses the colour
    word: str
    summary: str
    reasons: tuple[tuple[str, str], ...]  # (verdict, sentence), failures first


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
    """The answers about one fact, by language."""

    name: str
    new: bool  # False: an earlier release wrote it
    right: int  # answers, over all languages
    asked: int
    languages: Mapping[str, Row]


def candidate_page(page: CandidatePage) -> str:
    """The report as HTML. It is complete without scripts; the script only filters the answers."""
    report = page.report
    rows = tuple(measurement_from(row) for row in report.get("measurements") or ())
    figures = check_figures(rows, report.get("points") or {}, page.history) | dict(page.figures)
    facts = reported_facts(report.get("facts") or (), page.names)
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
        facts=facts,
        languages=sorted({name for fact in facts for name in fact.languages}),
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
    """Accepted, refused, inconclusive (refused, but nothing failed) or not decided, and why."""
    reasons = refusals(page)
    kind = {True: "pass", False: "fail", None: "none"}[page.accepted]
    if page.accepted is False and reasons and all(one == "inconclusive" for one, _ in reasons):
        kind = "inconclusive"
    word = {
        "pass": "Accepted",
        "fail": "Refused",
        "inconclusive": "Inconclusive",
        "none": "Not decided",
    }
    return ReportVerdict(kind=kind, word=word[kind], summary=summary(page, kind), reasons=reasons)


def refusals(page: CandidatePage) -> tuple[tuple[str, str], ...]:
    """The gates that did not pass and other reasons, as (verdict, sentence); failures first."""
    verdicts = {f["sentence"]: f["verdict"] for f in page.findings if f["verdict"] != "pass"}
    for reason in page.reasons:
        verdicts.setdefault(reason, "inconclusive" if reason.startswith("INCONCLUSIVE") else "fail")
    return tuple(
        sorted(((kind, text) for text, kind in verdicts.items()), key=lambda row: row[0] != "fail")
    )


def summary(page: CandidatePage, kind: str) -> str:
    """What the decision means, and how many gates passed."""
    counts = {name: sum(f["verdict"] == name for f in page.findings) for name in VERDICTS}
    words = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}
    gates = ", ".join(f"{counts[name]} {words[name]}" for name in VERDICTS if counts[name])
    text = {
        "pass": "Every gate passed.",
        "fail": "The candidate is not released.",
        "inconclusive": (
            "The candidate is not released: no gate failed, but not every gate could decide."
        ),
        "none": "These checks were run by hand. They release or refuse nothing.",
    }[kind]
    return f"{text} Gates: {gates}." if gates else text


def check_tables(rows: Iterable[Measurement]) -> list[CheckTable]:
    """A table per check: first those of QUESTIONS in their order, then others.

    Norms are left out; `norms_by_layer` shows them.
    """
    by_check: dict[str, dict[str, list[Measurement]]] = {name: {} for name in QUESTIONS}
    for row in rows:
        if row.check != "norms":
            by_check.setdefault(row.check, {}).setdefault(row.metric, []).append(row)
    return [_table(check, metrics) for check, metrics in by_check.items() if metrics]


def _table(check: str, metrics: Mapping[str, Sequence[Measurement]]) -> CheckTable:
    rows = [row for measured in metrics.values() for row in measured]
    return CheckTable(
        check=check,
        question=QUESTIONS.get(check, ""),
        metrics=metrics,
        base=any(row.before is not None or row.to_base for row in rows),
        live=any(row.live is not None or row.to_live for row in rows),
    )


def norms_by_layer(rows: Iterable[Measurement]) -> dict[str, dict[str, float]]:
    """The norms of the edited weights: quantity -> layer -> number.

    A quantity of no single layer has the layer "all".
    """
    norms: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.check == "norms":
            layer, quantity = _layer_and_quantity(row.metric)
            norms.setdefault(quantity.replace("_", " "), {})[layer] = row.value
    return norms


def _layer_and_quantity(metric: str) -> tuple[str, str]:
    """("5", "leverage_max") from "layer.5.leverage_max"."""
    parts = metric.split(".", 2)
    return (parts[1], parts[2]) if parts[0] == "layer" and len(parts) == 3 else ("all", metric)


def layer_names(norms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The layers of `norms_by_layer` in ascending order, "all" last."""
    names = {name for by_layer in norms.values() for name in by_layer}
    return sorted(names, key=lambda name: (name == "all", len(name), name))


def reported_facts(rows: Iterable[Row], names: Mapping[str, str]) -> list[ReportedFact]:
    """Every fact with its languages; facts with the smallest share of right answers first."""
    by_fact: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_fact.setdefault(row["fact"], {})[row["language"]] = row
    facts = [_fact(names.get(fact, fact), languages) for fact, languages in by_fact.items()]
    return sorted(facts, key=lambda f: (f.right / max(1, f.asked), not f.new, f.name))


def _fact(name: str, languages: Mapping[str, Row]) -> ReportedFact:
    return ReportedFact(
        name=name,
        new=any(row.get("new", True) for row in languages.values()),
        right=sum(row["right"] for row in languages.values()),
        asked=sum(row["asked"] for row in languages.values()),
        languages=languages,
    )


def worst_first(example: Row) -> tuple[bool, bool]:
    """A sort key: became wrong, stayed wrong, became right, stayed right."""
    was, now = bool(example.get("was_right")), bool(example["right"])
    return now, was if now else not was


def change_in_words(example: Row) -> str:
    """How an edit changed an answer: "became wrong", "stayed right", ….

    Old reports do not say whether the base's answer was right; then only what the answer is now.
    """
    now = "right" if example["right"] else "wrong"
    if "was_right" not in example:
        return now
    return f"stayed {now}" if example["was_right"] == example["right"] else f"became {now}"


def short_number(value: Any) -> str:
    """A number with three decimals; a smaller one with one significant digit; else a dash."""
    if isinstance(value, float) and 0 < abs(value) < 0.0005:
        return f"{value:.0e}"
    return number_text(value).replace("-", "−") if isinstance(value, float) else number_text(value)


def signed_number(value: float) -> str:
    """A difference with its sign."""
    return short_number(value) if not isfinite(value) or value <= 0 else f"+{short_number(value)}"


def interval_text(low: float, high: float, *, signs: bool = False) -> str:
    """The ends of an interval; empty if one of them is not finite."""
    text = signed_number if signs else short_number
    return f"{text(low)} to {text(high)}" if isfinite(low) and isfinite(high) else ""


def p_value_text(p_value: float) -> str:
    """The p value of McNemar's test with three decimals."""
    return "<0.001" if p_value < 0.001 else short_number(p_value)


def excludes_zero(difference: Difference) -> bool:
    """Whether the 95 % interval of a difference excludes 0."""
    return difference.low > 0 or difference.high < 0
