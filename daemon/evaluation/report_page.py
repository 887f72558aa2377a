"""The report of a candidate or a release as a page: what the editor draws, with the names and the history of the store."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.editor.reports.edit_page import Figures

HISTORY = 20  # releases whose norms are drawn


def page_of(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    report: Mapping[str, Any],
    *,
    title: str,
    about: Mapping[str, Any] | None = None,
) -> str:
    """One self-contained HTML file."""
    from factd.editor.reports.candidate_page import CandidatePage, candidate_page

    decision = report.get("decision") or {}
    aside = tuple(report.get("set_aside") or ())
    return candidate_page(
        CandidatePage(
            title=title,
            accepted=decision.get("accepted"),
            reasons=tuple(decision.get("reasons", ())),
            findings=tuple(decision.get("findings", ())),
            about={**(about or {}), **described(paths, workbench, report)},
            report=report,
            names=names(ledger, prompts, [*fact_ids(report), *(row["fact"] for row in aside)]),
            set_aside=aside,
            history=history(ledger, but=report["delta_id"]),
            figures=relevance(workbench, report),
        )
    )


def stands_on(workbench: Workbench) -> str:
    """Which base of the original model is in effect, where that is another one."""
    return f" (base {workbench.base_number})" if workbench.base_number else ""


def described(paths: Paths, workbench: Workbench, report: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, in a few lines."""
    return {
        "base model": f"{paths.original.name}{stands_on(workbench)}, {report['fingerprint'][:12]}",
        "delta": (report["delta_id"] or "none")[:12],
        "method": workbench.method.name,
        "probe set": report.get("probe_set"),
        "seconds in the checks": round(report["seconds"], 1),
    }


def fact_ids(report: Mapping[str, Any]) -> list[str]:
    """The facts that a report speaks of."""
    rows = [*report.get("facts", ()), *report.get("examples", ())]
    return [row["fact"] for row in rows if row["fact"]]


def names(ledger: Ledger, prompts: PromptSettings, ids: Iterable[str]) -> dict[str, str]:
    """What some facts say, in a few words, by id."""
    with ledger.read() as session:
        found = queries.facts.facts_by_id(session, ids)
    return {fact.id: words(fact, prompts) for fact in found}


def words(fact: Fact, prompts: PromptSettings) -> str:
    """ "Croatia, currency: euro"."""
    relation = prompts.catalogue.get(fact.relation)
    spoken = prompts.served[0]
    subject, held = (
        x.labels.get(spoken) or next(iter(x.labels.values()), x.id)
        for x in (fact.subject, fact.object)
    )
    return f"{subject}, {relation.name if relation else fact.relation}: {held}"


def history(ledger: Ledger, *, but: str | None) -> tuple[dict[str, Any], ...]:
    """The norms of the last releases but that of one delta, the oldest first."""
    found = []
    with ledger.read() as session:
        for release in queries.releases.list_releases(session, limit=HISTORY):
            if release.candidate_id is not None and release.delta_id != but:
                made = queries.releases.candidate(session, release.candidate_id)
                norms = norms_of(made.report or {})
                found.append({"release": release.number, "norms": norms})
    return tuple(reversed([row for row in found if row["norms"]]))


def norms_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The norms that a report measured."""
    rows = report.get("measurements", ())
    return {m["metric"]: m["value"] for m in rows if m["check"] == "norms" and m["value"]}


def relevance(workbench: Workbench, report: Mapping[str, Any]) -> "Figures":
    """Head relevance of the corrections that are switched on, if any."""
    from factd.editor.heads.corrections import list_corrections
    from factd.editor.reports.plots import relevance_figure

    found = {}
    for held, state in list_corrections(workbench.workspace, report["fingerprint"]):
        if state == "on":
            title = f"head relevance, {held.language}; the corrected heads are framed"
            found[title] = relevance_figure(held.relevance, held.heads)
    return found


def write_page(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    candidate: int,
    report: Mapping[str, Any],
    title: str,
) -> Path:
    """A candidate's page beside its report."""
    from factd.editor.files.folders import write_file

    out = paths.candidate(candidate) / "report.html"
    write_file(out, page_of(ledger, paths, workbench, prompts, report, title=title).encode())
    return out
