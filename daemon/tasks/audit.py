"""The audit of the live release: it is loaded from its published files and examined.

The files are loaded as a server does. Their answers about the release's facts are compared with
those of the delta in memory; any difference is damage. Their answers about facts of the base model
are compared with the base, in a sample that the candidate was not asked. Drift is measured on
held-out texts. Damaged files are written again from the delta and examined once more. If an audit
fails, the version before is published again and factd is frozen.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.app import App, writing
from factd.daemon.artefacts.versions import Versions
from factd.daemon.editing import candidates
from factd.daemon.editing.candidates import decision_json
from factd.daemon.errors import FactdError, Refused
from factd.daemon.evaluation import probe_sets
from factd.daemon.gates import policy
from factd.daemon.gates.configured import Gates, gates_from
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.prompts import probes as probing
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.probes import FactContext
from factd.daemon.publishing import publish, verify, version_files
from factd.daemon.tasks.outcome import ReportStep, TaskOutcome
from factd.daemon.tracing import span
from factd.daemon.workbench import Workbench
from factd.editor.errors import EditorError
from factd.store import queries
from factd.store.model.evidence import Audit, AuditOutcome
from factd.store.model.operations import Task
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.editor.exams.exam import Exam, ExamResults

WHO = "factd (audit)"
GATE_NAMES = (  # the gates about what a release must keep
    "known_kept",
    "retention",
    "retention_lost",
    "known_lost",
    "perplexity_ratio",
    "perplexity_grown",
    "kl",
)


@dataclass(frozen=True, kw_only=True)
class FilesExamination:
    """How the published files answer, compared with the delta in memory and the base model."""

    decision: policy.Decision
    lost: tuple[str, ...]  # facts that the delta answers and the files do not
    silent: tuple[str, ...]  # facts that the delta does not answer in some written language either
    report: Mapping[str, Any]


def run(app: App, task: Task, report_step: ReportStep) -> TaskOutcome:
    """Audit the live release as a task."""
    with writing(app) as own:
        report_step("audit", ())
        try:
            done = audit(own)
        except Refused as error:
            return TaskOutcome(detail=str(error))
    detail = f"release {done.release}: {done.outcome.value}; {done.action or 'nothing to do'}"
    return TaskOutcome(detail=detail, failed=done.outcome is AuditOutcome.FAILED)


@span("audit")
def audit(app: App) -> Audit:
    """Audit the live release, repair it or roll back, and record the outcome.

    Raises: Refused: only the base model is live.
    """
    live = candidates.live_release(app.ledger)
    if live.candidate_id is None or not live.fact_ids:
        raise Refused("only the base model is live; there is nothing to audit")
    damage, examination = damage_of_files(app.versions, live), None
    if not damage:
        damage, examination = examine_if_loadable(app, live)
    if examination is None:
        log.error("published files damaged", release=live.number, why=damage)
        version_files.write_version(app.ledger, app.paths, app.versions, live)
        examination = examine_files(app, live)
    repaired = bool(damage)
    if not examination.decision.accepted and not damage:
        version_files.write_version(app.ledger, app.paths, app.versions, live)
        again = examine_files(app, live)
        repaired = again.decision.accepted
        examination = again if repaired else examination
    outcome = AuditOutcome.PASSED if not repaired else AuditOutcome.REPAIRED
    action = "the version was written again from its delta" if repaired else ""
    if not examination.decision.accepted:
        outcome, action = AuditOutcome.FAILED, _roll_back(app, live, examination)
    return _record(app.ledger, live, outcome, action, damage, examination)


def damage_of_files(versions: Versions, live: Release) -> str:
    """How the published files differ from their manifest; empty if they do not."""
    return verify.damage(versions.folder(live.number), live.number)


def examine_if_loadable(app: App, live: Release) -> tuple[str, FilesExamination | None]:
    """Examine the published files, or return why they cannot be loaded, such as NaN weights."""
    try:
        return "", examine_files(app, live)
    except EditorError as error:
        return str(error), None


def examine_files(app: App, live: Release, folder: Path | None = None) -> FilesExamination:
    """Put the same probes to the published files, the delta in memory and the base, and judge.

    folder: a checkpoint that should be the same as the published one, to examine instead of it.
    """
    from factd.editor.exams.exam import evidence_of  # needs torch
    from factd.editor.exams.report import report_on

    exam = audit_exam(app, live)
    base = app.workbench.base(exam)
    in_memory = candidates.live_results(app.paths, app.workbench, exam, live)
    files = folder or app.versions.folder(live.number)
    evidence = evidence_of(exam, base, results_from_files(app.workbench, exam, files), in_memory)
    report = report_on(evidence, app.workbench.model().fingerprint, None, 0.0).as_json()
    decision = policy.judge(report, audit_gates(app.prompts, app.gates))
    rows = [row for row in report["facts"] if row["written"]]
    lost = tuple(sorted({row["fact"] for row in rows if _is_lost(row)}))
    return FilesExamination(
        decision=_with_lost_facts(decision, lost),
        lost=lost,
        silent=tuple(sorted({row["fact"] for row in rows if not row["live"]})),
        report=report,
    )


def _is_lost(row: Mapping[str, Any]) -> bool:
    """Whether the files answer less than half of what the delta answers about a fact."""
    return bool(row["live"]) and row["right"] < row["live"] * 0.5


def _with_lost_facts(decision: policy.Decision, lost: Sequence[str]) -> policy.Decision:
    """The decision; if the files have lost facts, it is a rejection for that reason too."""
    if not lost:
        return decision
    some = ", ".join(lost[:5])
    text = f"{len(lost)} facts of the release are not answered any more ({some})"
    return replace(decision, accepted=False, reasons=(text, *decision.reasons))


def audit_gates(prompts: PromptSettings, gates: Gates) -> tuple[policy.Gate, ...]:
    """The configured gates about what a release must keep."""
    write, served = prompts.write, prompts.served
    every = gates_from(gates.table, write=write, served=served)
    return tuple(gate for gate in every if gate.name in GATE_NAMES)


def audit_exam(app: App, live: Release) -> "Exam":
    """An exam of facts of the release, facts of the base and texts. Each day has another sample."""
    from factd.editor.exams.exam import Exam  # needs torch

    known = probe_sets.known_facts(app.ledger, app.prompts)
    with app.ledger.read() as session:
        facts = queries.facts.facts_by_id(session, live.fact_ids)
        before = queries.facts.base_counterparts(session, facts)
    day = app.ledger.now().date().isoformat()
    table = app.config.audit
    sizes = replace(app.prompts.sizes, known=table.known_sample, earlier=table.earlier_sample)
    prompts = replace(app.prompts, sizes=sizes)
    context = FactContext(new=(), earlier=tuple(facts), before=before, known=known)
    held = probing.known_fact_probes(context.unchanged, prompts, salt=day)
    seed = int(hashlib.sha256(day.encode()).hexdigest()[:6], 16)
    return Exam(
        probes=(*probing.batch_probes(context, prompts), *held),
        texts=probe_sets.held_out_texts(app.workbench, app.prompts, sizes.texts, seed=seed),
    )


def results_from_files(workbench: Workbench, exam: "Exam", folder: Path) -> "ExamResults":
    """The results in an exam of a checkpoint that is loaded from its files."""
    from factd.editor.exams.exam import ExamResults, take_exam  # needs torch
    from factd.editor.models.model import load_model
    from factd.editor.scoring.drift import text_scores_against

    table = workbench.table
    model = load_model(folder, device=table.device, dtype=table.dtype)
    probes = replace(exam, texts={}, questions={})
    answered = take_exam(model, probes, terminator=workbench.terminator)
    texts = text_scores_against(workbench.model(), model, exam.texts)
    return ExamResults(answers=answered.answers, texts=texts, rankings={})


def _roll_back(app: App, live: Release, examination: FilesExamination) -> str:
    """Publish the version before again, if [audit] asks for it and there is one.

    Returns what was done, in words.
    """
    if not app.config.audit.roll_back:
        return "nothing: [audit] roll_back is off"
    number = app.versions.previous(live.number)
    if number is None:
        return "nothing: no version before it lies ready"
    why = f"the audit of release {live.number} failed: {examination.decision.reasons[0]}"
    try:
        publish.roll_back_to(
            app.ledger, app.paths, app.versions, app.fleet, number, who=WHO, why=why
        )
    except FactdError as error:
        return f"rolling back to release {number} failed: {error}"
    return f"rolled back to release {number} and frozen"


def _record(
    ledger: Ledger,
    live: Release,
    outcome: AuditOutcome,
    action: str,
    damage: str,
    examination: FilesExamination,
) -> Audit:
    reasons = [damage] if damage else []
    row = Audit(
        release=live.number,
        outcome=outcome,
        action=action,
        reasons=[*reasons, *examination.decision.reasons],
        report={
            "lost": list(examination.lost),
            "silent": list(examination.silent),
            "decision": decision_json(examination.decision),
            "measurements": examination.report["measurements"],
        },
        at=ledger.now(),
    )
    with ledger.begin() as session:
        queries.evidence.add_audit(session, row)
        what = f"audit of release {live.number}: {outcome.value}"
        queries.releases.log_action(session, who=WHO, what=what, why=action, now=ledger.now())
    log.info("release audited", release=live.number, outcome=outcome.value, action=action)
    return row
