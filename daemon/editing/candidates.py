"""One candidate: the facts that it holds, its solve, its exam and its judgement.

Which candidate is tried next is decided in daemon/editing/edit.py.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from factd.daemon.errors import Refused
from factd.daemon.evaluation import probe_sets
from factd.daemon.gates import policy
from factd.daemon.gates.configured import Gates
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts import edits, probes
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.probes import FactContext
from factd.daemon.tracing import span
from factd.daemon.workbench import Workbench
from factd.editor import plugins
from factd.editor.edits import EditBatch
from factd.editor.files.folders import write_file
from factd.store import queries
from factd.store.model.facts import Fact
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.editor.checks import Evidence, Measurement
    from factd.editor.deltas.delta import Delta
    from factd.editor.exams.exam import AnswerCache, Exam, ExamResults
    from factd.editor.exams.influence import ValueShift

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


def quiet(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A set of facts proposed as a candidate: the batch to write, and the exam it has to pass."""

    context: FactContext
    batch: EditBatch
    exam: "Exam"  # also taken by the base model and by the live release
    probe_set: int  # version
    live: Release

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts of the set, sorted by id."""
        both = (*self.context.earlier, *self.context.new)
        return tuple(sorted(both, key=lambda fact: fact.id))

    @property
    def ids(self) -> tuple[str, ...]:
        """The facts' ids, sorted."""
        return tuple(fact.id for fact in self.facts)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The measurements of one delta, and what the gates say of them."""

    delta: "Delta"
    evidence: "Evidence"
    report: Mapping[str, Any]  # as JSON, with the decision
    decision: policy.Decision
    value_shifts: "tuple[ValueShift, ...]"
    seconds: Mapping[str, float] = field(default_factory=dict)


def live_release(ledger: Ledger) -> Release:
    """The live release, or the release of the base model if nothing was published yet."""
    with ledger.begin() as session:
        base = queries.releases.ensure_release_zero(session, now=ledger.now())
        return queries.releases.live_release(session) or base


def propose(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    facts: Sequence[Fact],
    live: Release,
) -> Proposal:
    """The batch and the exam of a set of facts.

    Raises: BadEdit: two of the facts cannot be told apart.
    """
    known = probe_sets.known_facts(ledger, prompts)
    with ledger.read() as session:
        before = queries.facts.base_counterparts(session, facts)
    live_ids = set(live.fact_ids)
    context = FactContext(
        new=tuple(fact for fact in facts if fact.id not in live_ids),
        earlier=tuple(fact for fact in facts if fact.id in live_ids),
        before=before,
        known=known,
    )
    version, held = probe_sets.current(ledger, paths, workbench, prompts, known)
    asked = probes.batch_probes(context, prompts)
    exam = replace(held, probes=(*asked, *probes.still_valid_probes(held.probes, context)))
    batch = edits.edit_batch(facts, before, prompts)
    return Proposal(context=context, batch=batch, exam=exam, probe_set=version.version, live=live)


@span("solve")
def solve(workbench: Workbench, batch: EditBatch, progress: Progress = quiet) -> "Delta":
    """The delta that writes a batch, with the head corrections that are switched on."""
    from factd.editor.heads.corrections import switched_on, with_heads  # needs torch

    method = plugins.load("factd.editor.methods", workbench.method.name)
    model = workbench.model()
    facts_only = method.edit(
        model,
        batch,
        settings=workbench.method_settings(),
        workspace=workbench.workspace,
        progress=progress,
    )
    heads = switched_on(workbench.workspace, model.fingerprint) if batch.edits else ()
    delta: Delta = with_heads(model, facts_only, heads)
    return delta


def value_shifts_of(workbench: Workbench, batch: EditBatch) -> "tuple[ValueShift, ...]":
    """How far each fact's value moves the residual stream; empty if the method writes no values."""
    from factd.editor.exams.influence import value_shifts  # needs torch
    from factd.editor.methods._write import WriteSettings

    settings = workbench.method_settings()
    if not isinstance(settings, WriteSettings):
        return ()
    return value_shifts(workbench.model(), batch, settings, workbench.workspace)


def live_results(paths: Paths, workbench: Workbench, exam: "Exam", live: Release) -> "ExamResults":
    """The live release's results in an exam.

    Answers that it gave when it was a candidate are read from its folder and not asked again.
    """
    from factd.editor.deltas.delta import load_delta  # needs torch
    from factd.editor.exams.exam import AnswerCache, take_exam

    if live.candidate_id is None or not live.fact_ids:
        return workbench.base(exam)
    folder = paths.candidate(live.candidate_id)
    return take_exam(
        workbench.model(),
        exam,
        delta=load_delta(folder / "delta"),
        terminator=workbench.terminator,
        cache=AnswerCache.load(folder / "answers.json"),
    )


@span("checks")
def examine(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    proposal: Proposal,
    delta: "Delta",
    *,
    exam: "Exam | None" = None,
    memory: "AnswerCache | None" = None,
    only: Sequence[policy.Gate] | None = None,
) -> Examination:
    """Measure a delta beside the base model and the live release, and judge it.

    exam: a part of the proposal's exam, instead of the whole. memory: answers of this delta that
    were kept. only: the gates that judge, instead of all.
    """
    from factd.editor.exams.exam import evidence_of, take_exam  # needs torch
    from factd.editor.exams.report import report_on

    started = time.monotonic()
    asked, model = proposal.exam if exam is None else exam, workbench.model()
    base = workbench.base(asked)
    live = live_results(paths, workbench, asked, proposal.live)
    now = take_exam(model, asked, delta=delta, terminator=workbench.terminator, cache=memory)
    shifts = value_shifts_of(workbench, proposal.batch)
    furthest = {"value_reach_max": max(s.ratio for s in shifts)} if shifts else {}
    evidence = evidence_of(asked, base, now, live, {**delta.diagnostics, **furthest})
    measured = report_on(evidence, model.fingerprint, delta, time.monotonic() - started)
    if exam is None and prompts.checks.transfer:
        more = transfer_measurements(workbench, proposal, base)
        measured = replace(measured, measurements=(*measured.measurements, *more))
    report = measured.as_json()
    chosen = gates.gates if only is None else only
    with span("judge"):
        decision = policy.judge(report, chosen, fact_right=gates.table.fact_right)
    if not proposal.batch.edits:  # nothing is written: this is the base model itself
        decision = policy.Decision(accepted=True, reasons=())
    judged = {"probe_set": proposal.probe_set, "decision": decision_json(decision)}
    return Examination(
        delta=delta,
        evidence=evidence,
        report={**report, **judged},
        decision=decision,
        value_shifts=shifts,
    )


def transfer_measurements(
    workbench: Workbench, proposal: Proposal, base: "ExamResults"
) -> "tuple[Measurement, ...]":
    """The transfer matrix of a proposal's facts, from every language to every language.

    Raises: Refused: the configured method does not solve values per language.
    """
    from factd.editor.exams.transfer_matrix import transfer_matrix  # needs torch
    from factd.editor.methods import memit

    settings = workbench.method_settings()
    if not isinstance(settings, memit.Settings):
        raise Refused("the transfer matrix needs [method] memit; switch [checks] transfer off")
    return transfer_matrix(
        workbench.model(),
        proposal.batch,
        proposal.exam.probes,
        base.answers,
        settings=settings,
        workspace=workbench.workspace,
    )


def decision_json(decision: policy.Decision) -> dict[str, Any]:
    """A decision as it stands in reports."""
    return {
        "accepted": decision.accepted,
        "verdict": decision.verdict.value,
        "reasons": list(decision.reasons),
        "findings": [json_row(finding.as_json()) for finding in decision.findings],
    }


def json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for JSON: NaN is written as null."""
    return {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}


def write_report(paths: Paths, candidate: int, report: Mapping[str, Any]) -> None:
    """Write a candidate's report beside its delta."""
    text = json.dumps(report, ensure_ascii=False, indent=1)
    write_file(paths.candidate(candidate) / "report.json", text.encode())
