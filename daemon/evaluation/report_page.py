"""The report of a candidate or a release as an HTML page.

The editor draws the page. The names of facts and the norms of earlier releases come from the store.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.editor.files.folders import write_file
from factd.store import queries
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.editor.reports.edit_page import Figures

HISTORY = 20  # releases whose norms are drawn


def report_html(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    report: Mapping[str, Any],
    *,
    title: str,
    about: Mapping[str, Any] | None = None,
) -> str:
    """A report as one self-contained HTML file. about: lines to show above those of the report."""
    from factd.editor.reports import candidate_page  # needs matplotlib

    decision = report.get("decision") or {}
    set_aside = tuple(report.get("set_aside") or ())
    named = [*fact_ids(report), *(row["fact"] for row in set_aside)]
    return candidate_page.candidate_page(
        candidate_page.CandidatePage(
            title=title,
            accepted=decision.get("accepted"),
            reasons=tuple(decision.get("reasons", ())),
            findings=tuple(decision.get("findings", ())),
            about={**(about or {}), **measured_on(paths, workbench, report)},
            report=report,
            names=fact_labels(ledger, prompts, named),
            set_aside=set_aside,
            history=norm_history(ledger, without=report["delta_id"]),
            figures=head_relevance(workbench, report),
        )
    )


def base_suffix(workbench: Workbench) -> str:
    """The suffix " (base N)" if a base other than the original model is in effect, else empty."""
    return f" (base {workbench.base_number})" if workbench.base_number else ""


def measured_on(paths: Paths, workbench: Workbench, report: Mapping[str, Any]) -> dict[str, Any]:
    """Title -> line about what was measured: base model, delta, method, probe set, duration."""
    name = f"{paths.original.name}{base_suffix(workbench)}"
    return {
        "base model": f"{name}, {report['fingerprint'][:12]}",
        "delta": (report["delta_id"] or "none")[:12],
        "method": workbench.method.name,
        "probe set": report.get("probe_set"),
        "seconds in the checks": round(report["seconds"], 1),
    }


def fact_ids(report: Mapping[str, Any]) -> list[str]:
    """The ids of the facts in a report's tables of facts and examples."""
    rows = [*report.get("facts", ()), *report.get("examples", ())]
    return [row["fact"] for row in rows if row["fact"]]


def fact_labels(ledger: Ledger, prompts: PromptSettings, ids: Iterable[str]) -> dict[str, str]:
    """Fact id -> its label."""
    with ledger.read() as session:
        facts = queries.facts.facts_by_id(session, ids)
    return {fact.id: fact_label(fact, prompts) for fact in facts}


def fact_label(fact: Fact, prompts: PromptSettings) -> str:
    """A fact in a few words, like "Croatia, currency: euro", in the first served language."""
    relation = prompts.catalogue.get(fact.relation)
    language = prompts.served[0]
    subject, object_ = (
        entity.labels.get(language) or next(iter(entity.labels.values()), entity.id)
        for entity in (fact.subject, fact.object)
    )
    return f"{subject}, {relation.name if relation else fact.relation}: {object_}"


def norm_history(ledger: Ledger, *, without: str | None) -> tuple[dict[str, Any], ...]:
    """The norms of the last releases, oldest first. without: the id of a delta to leave out."""
    rows = []
    with ledger.read() as session:
        for release in queries.releases.list_releases(session, limit=HISTORY):
            if release.candidate_id is not None and release.delta_id != without:
                candidate = queries.releases.candidate(session, release.candidate_id)
                rows.append({"release": release.number, "norms": norms(candidate.report or {})})
    return tuple(reversed([row for row in rows if row["norms"]]))


def norms(report: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> value of the check `norms` in a report."""
    rows = report.get("measurements", ())
    return {m["metric"]: m["value"] for m in rows if m["check"] == "norms" and m["value"]}


def head_relevance(workbench: Workbench, report: Mapping[str, Any]) -> "Figures":
    """Title -> head relevance of each head correction that is switched on."""
    from factd.editor.heads.corrections import list_corrections  # needs torch
    from factd.editor.reports.plots import relevance_figure

    figures = {}
    for correction, state in list_corrections(workbench.workspace, report["fingerprint"]):
        if state == "on":
            title = f"head relevance, {correction.language}; the corrected heads are framed"
            figures[title] = relevance_figure(correction.relevance, correction.heads)
    return figures


def write_page(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    candidate: int,
    report: Mapping[str, Any],
    title: str,
) -> Path:
    """Write a candidate's page beside its report. Returns its path."""
    out = paths.candidate(candidate) / "report.html"
    write_file(out, report_html(ledger, paths, workbench, prompts, report, title=title).encode())
    return out
