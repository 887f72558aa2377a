"""The watch after publishing: the live release, loaded from its files as a server does, asked again.

Facts of the release are compared with what its delta says in memory (anything else is damage), facts of the base model with
the base, in a sample that the candidate was not asked; held-out text drifts as it drifts. Damaged files are written again from
the delta and asked once more. An audit that fails rolls back to the version before, and freezes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.app import App
from factd.daemon.artefacts.versions import Versions
from factd.daemon.editing import candidates
from factd.daemon.editing.candidates import decision_json
from factd.daemon.errors import FactdError, Refused
from factd.daemon.evaluation import probe_sets
from factd.daemon.gates import policy
from factd.daemon.gates.measures import Gates, gates_from
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.prompts import probes as probing
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.probes import Ground
from factd.daemon.publishing import publish, version_files
from factd.daemon.tracing import span
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.evidence import Audit, AuditOutcome
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.editor.exams.exam import Exam, Results

WHO = "factd (audit)"
GATES = (
    "known_kept",
    "retention",
    "retention_lost",
    "known_lost",
    "perplexity_ratio",
    "perplexity_grown",
    "kl",
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look at the published files found."""

    decision: policy.Decision
    lost: tuple[str, ...]  # facts that the delta answers and the files do not
    silent: tuple[str, ...]  # facts that not even the delta answers, in some written language
    report: Mapping[str, Any]


@span("audit")
def audit(app: App) -> Audit:
    """Audit the live release, mend or roll back, and keep what was found. Raises: Refused: only the base is live."""
    live = candidates.live_of(app.ledger)
    if live.candidate_id is None or not live.fact_ids:
        raise Refused("only the base model is live; there is nothing to audit")
    damage, seen = damaged_files(app.versions, live), None
    if not damage:
        damage, seen = first_look(app, live)
    if seen is None:
        log.error("published files damaged", release=live.number, why=damage)
        version_files.write_version(app.ledger, app.paths, app.versions, live)
        seen = look(app, live)
    repaired = bool(damage)
    if not seen.decision.accepted and not damage:
        version_files.write_version(app.ledger, app.paths, app.versions, live)
        again = look(app, live)
        repaired, seen = again.decision.accepted, again if again.decision.accepted else seen
    outcome = AuditOutcome.PASSED if not repaired else AuditOutcome.REPAIRED
    action = "the version was written again from its delta" if repaired else ""
    if not seen.decision.accepted:
        outcome, action = AuditOutcome.FAILED, _rolled_back(app, live, seen)
    return _kept(app.ledger, live, outcome, action, damage, seen)


def damaged_files(versions: Versions, live: Release) -> str:
    """Why the published files are not what their manifest says; empty where they are."""
    from factd.daemon.publishing.verify import damage

    return damage(versions.folder(live.number), live.number)


def first_look(app: App, live: Release) -> tuple[str, Seen | None]:
    """What was seen; or why the files cannot even be loaded, as when their weights are no numbers."""
    from factd.editor.errors import EditorError

    try:
        return "", look(app, live)
    except EditorError as error:
        return str(error), None


def look(app: App, live: Release, folder: Path | None = None) -> Seen:
    """Ask the published files, their delta in memory, and the base model the same things; judge what differs.

    folder: of a checkpoint that is to be what was published.
    """
    from factd.editor.exams.exam import evidence_of
    from factd.editor.exams.report import report_on

    exam = exam_of(app, live)
    base = app.workbench.base(exam)
    meant = candidates.live_results(app.paths, app.workbench, exam, live)
    asked = folder or app.versions.folder(live.number)
    evidence = evidence_of(exam, base, results_of(app.workbench, exam, asked), meant)
    report = report_on(evidence, app.workbench.model().fingerprint, None, 0.0).as_json()
    decision = policy.judge(report, kept_gates(app.prompts, app.gates))
    rows = [row for row in report["facts"] if row["written"]]
    decision = _with_lost(decision, [r["fact"] for r in rows if _is_lost(r)])
    return Seen(
        decision=decision,
        lost=tuple(sorted({r["fact"] for r in rows if _is_lost(r)})),
        silent=tuple(sorted({r["fact"] for r in rows if not r["live"]})),
        report=report,
    )


def _is_lost(row: Mapping[str, Any]) -> bool:
    """The delta answers more about the fact than the files do."""
    return bool(row["live"]) and row["right"] < row["live"] * 0.5


def _with_lost(decision: policy.Decision, lost: Sequence[str]) -> policy.Decision:
    """A fact that the files have lost is a reason of its own."""
    if not lost:
        return decision
    text = f"{len(set(lost))} facts of the release are not answered any more ({', '.join(sorted(set(lost))[:5])})"
    return replace(decision, accepted=False, reasons=(text, *decision.reasons))


def kept_gates(prompts: PromptSettings, gates: Gates) -> tuple[policy.Gate, ...]:
    """The policy's gates that are about what a release keeps."""
    write, served = prompts.write, prompts.served
    found = gates_from(gates.table, write=write, served=served)
    return tuple(gate for gate in found if gate.name in GATES)


def exam_of(app: App, live: Release) -> "Exam":
    """Facts of the release, facts of the base and texts: others on each day."""
    from factd.editor.exams.exam import Exam

    known = probe_sets.known_facts(app.ledger, app.prompts)
    with app.ledger.read() as session:
        facts = queries.facts.facts_by_id(session, live.fact_ids)
        before = queries.facts.previous(session, facts)
    day = app.ledger.now().date().isoformat()
    table = app.config.audit
    sizes = replace(app.prompts.sizes, known=table.known_sample, earlier=table.earlier_sample)
    plan = replace(app.prompts, sizes=sizes)
    ground = Ground(new=(), earlier=tuple(facts), before=before, known=known)
    held = probing.held_probes(ground.still, plan, salt=day)
    seed = int(hashlib.sha256(day.encode()).hexdigest()[:6], 16)
    return Exam(
        probes=(*probing.batch_probes(ground, plan), *held),
        texts=probe_sets.held_out(app.workbench, app.prompts, sizes.texts, seed=seed),
    )


def results_of(workbench: Workbench, exam: "Exam", folder: Path) -> "Results":
    """What a checkpoint answers, loaded from its files."""
    from factd.editor.exams.exam import Results, sit
    from factd.editor.models.model import load_model
    from factd.editor.scoring.drift import text_scores_of

    table = workbench.table
    model = load_model(folder, device=table.device, dtype=table.dtype)
    probes = replace(exam, texts={}, questions={})
    said = sit(model, probes, terminator=workbench.terminator)
    texts = text_scores_of(workbench.model(), model, exam.texts)
    return Results(answers=said.answers, texts=texts, rankings={})


def _rolled_back(app: App, live: Release, seen: Seen) -> str:
    """Go back to the version before, where that is wanted and there is one; what was done, in words."""
    if not app.config.audit.roll_back:
        return "nothing: [audit] roll_back is off"
    number = app.versions.previous(live.number)
    if number is None:
        return "nothing: no version before it lies ready"
    why = f"the audit of release {live.number} failed: {seen.decision.reasons[0]}"
    try:
        publish.roll_back_to(
            app.ledger, app.paths, app.versions, app.fleet, number, who=WHO, why=why
        )
    except FactdError as error:
        return f"rolling back to release {number} failed: {error}"
    return f"rolled back to release {number} and frozen"


def _kept(
    ledger: Ledger, live: Release, outcome: AuditOutcome, action: str, damage: str, seen: Seen
) -> Audit:
    reasons = [damage] if damage else []
    found = Audit(
        release=live.number,
        outcome=outcome,
        action=action,
        reasons=[*reasons, *seen.decision.reasons],
        report={
            "lost": list(seen.lost),
            "silent": list(seen.silent),
            "decision": decision_json(seen.decision),
            "measurements": seen.report["measurements"],
        },
        at=ledger.now(),
    )
    with ledger.begin() as session:
        queries.evidence.add_audit(session, found)
        what = f"audit of release {live.number}: {outcome.value}"
        queries.releases.record(session, who=WHO, what=what, why=action, now=ledger.now())
    log.info("release audited", release=live.number, outcome=outcome.value, action=action)
    return found
