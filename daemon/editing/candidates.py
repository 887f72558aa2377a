"""One candidate: what it is made of and asked, solved, measured, judged. What comes next: daemon/editing/edit.py."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from factd.daemon.errors import Refused
from factd.daemon.evaluation import probe_sets
from factd.daemon.gates import policy
from factd.daemon.gates.measures import Gates
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts import edits, probes
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.probes import Ground
from factd.daemon.tracing import span
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.editor.checks import Evidence, Measurement
    from factd.editor.deltas.delta import Delta
    from factd.editor.edits import EditBatch
    from factd.editor.exams.exam import AnswerCache, Exam, ExamResults
    from factd.editor.exams.influence import ValueShift

Progress = Callable[[str, int, int], None]


def quiet(stage: str, done: int, total: int) -> None:
    """No progress shown."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a candidate is made of, and what it is asked beside the base model and the live release."""

    ground: Ground
    batch: "EditBatch"
    exam: "Exam"
    probe_set: int  # version
    live: Release

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The whole set, by id."""
        both = (*self.ground.earlier, *self.ground.new)
        return tuple(sorted(both, key=lambda fact: fact.id))

    @property
    def ids(self) -> tuple[str, ...]:
        """The facts' ids, sorted."""
        return tuple(fact.id for fact in self.facts)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was measured of one delta, and what the policy says of it."""

    delta: "Delta"
    evidence: "Evidence"
    report: Mapping[str, Any]  # as JSON, with the decision
    decision: policy.Decision
    reaches: "tuple[ValueShift, ...]"
    seconds: Mapping[str, float] = field(default_factory=dict)


def case_of(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    facts: Sequence[Fact],
    live: Release,
) -> Case:
    """The case of a set of facts. Raises: BadEdit: two of them cannot be told apart."""
    known = probe_sets.known_facts(ledger, prompts)
    with ledger.read() as session:
        before = queries.facts.base_counterparts(session, facts)
    there = set(live.fact_ids)
    ground = Ground(
        new=tuple(fact for fact in facts if fact.id not in there),
        earlier=tuple(fact for fact in facts if fact.id in there),
        before=before,
        known=known,
    )
    version, held = probe_sets.current(ledger, paths, workbench, prompts, known)
    asked = probes.batch_probes(ground, prompts)
    exam = replace(held, probes=(*asked, *probes.of_the_set(held.probes, ground)))
    batch = edits.edit_batch(facts, before, prompts)
    return Case(ground=ground, batch=batch, exam=exam, probe_set=version.version, live=live)


@span("solve")
def solved(workbench: Workbench, batch: "EditBatch", progress: Progress = quiet) -> "Delta":
    """The delta that writes a batch, with the head corrections that are switched on."""
    from factd.editor import plugins
    from factd.editor.heads.corrections import switched_on, with_heads

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
    found: Delta = with_heads(model, facts_only, heads)
    return found


def reaches_of(workbench: Workbench, batch: "EditBatch") -> "tuple[ValueShift, ...]":
    """How far each fact is to move the stream; nothing of a method that writes no values."""
    from factd.editor.exams.influence import value_shifts
    from factd.editor.methods._write import WriteSettings

    settings = workbench.method_settings()
    if not isinstance(settings, WriteSettings):
        return ()
    return value_shifts(workbench.model(), batch, settings, workbench.workspace)


def live_results(paths: Paths, workbench: Workbench, exam: "Exam", live: Release) -> "ExamResults":
    """What the live release makes of an exam; what it was asked as a candidate is not asked again."""
    from factd.editor.deltas.delta import load_delta
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
def examined(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    case: Case,
    delta: "Delta",
    *,
    exam: "Exam | None" = None,
    memory: "AnswerCache | None" = None,
    only: Sequence[policy.Gate] | None = None,
) -> Examined:
    """A delta measured beside the base and the live release, and judged.

    exam: a part of the case's exam. only: some of the gates. memory: the delta's kept answers.
    """
    from factd.editor.exams.exam import evidence_of, take_exam
    from factd.editor.exams.report import report_on

    started = time.monotonic()
    asked, model = case.exam if exam is None else exam, workbench.model()
    base = workbench.base(asked)
    live = live_results(paths, workbench, asked, case.live)
    now = take_exam(model, asked, delta=delta, terminator=workbench.terminator, cache=memory)
    reach = reaches_of(workbench, case.batch)
    furthest = {"value_reach_max": max(r.ratio for r in reach)} if reach else {}
    evidence = evidence_of(asked, base, now, live, {**delta.diagnostics, **furthest})
    made = report_on(evidence, model.fingerprint, delta, time.monotonic() - started)
    if exam is None and prompts.checks.transfer:
        more = transfer(workbench, case, base)
        made = replace(made, measurements=(*made.measurements, *more))
    report = made.as_json()
    chosen = gates.gates if only is None else only
    with span("judge"):
        decision = policy.judge(report, chosen, fact_right=gates.table.fact_right)
    if not case.batch.edits:
        decision = policy.Decision(accepted=True, reasons=())  # the base itself: nothing is written
    judged = {"probe_set": case.probe_set, "decision": decision_json(decision)}
    return Examined(
        delta=delta,
        evidence=evidence,
        report={**report, **judged},
        decision=decision,
        reaches=reach,
    )


def transfer(workbench: Workbench, case: Case, base: "ExamResults") -> "tuple[Measurement, ...]":
    """The whole transfer matrix of a case's facts. Raises: Refused: the method has no values to solve by language."""
    from factd.editor.exams.transfer_matrix import transfer_matrix
    from factd.editor.methods import memit

    settings = workbench.method_settings()
    if not isinstance(settings, memit.Settings):
        raise Refused("the transfer matrix needs [method] memit; switch [checks] transfer off")
    return transfer_matrix(
        workbench.model(),
        case.batch,
        case.exam.probes,
        base.answers,
        settings=settings,
        workspace=workbench.workspace,
    )


def decision_json(decision: policy.Decision) -> dict[str, Any]:
    """A decision for reports."""
    return {
        "accepted": decision.accepted,
        "verdict": decision.verdict.value,
        "reasons": list(decision.reasons),
        "findings": [plain(finding.as_json()) for finding in decision.findings],
    }


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose numbers that are none are null."""
    return {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}


def write_report(paths: Paths, candidate: int, report: Mapping[str, Any]) -> None:
    """A candidate's report beside its delta."""
    from factd.editor.files.folders import write_file

    text = json.dumps(report, ensure_ascii=False, indent=1)
    write_file(paths.candidate(candidate) / "report.json", text.encode())


def live_of(ledger: Ledger) -> Release:
    """The live release; the base where there is none."""
    with ledger.begin() as session:
        base = queries.releases.ensure_release_zero(session, now=ledger.now())
        return queries.releases.live_release(session) or base
