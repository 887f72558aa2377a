"""The steps of the cycle: plan, edit (solve and check), take back. Each does one piece of work and says what it did."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon import asking, policy, render
from daemon.bootstrap import Factd
from daemon.errors import Refused
from daemon.log import log
from daemon.planning import Planned, plan
from daemon.publishing import publish, refuse_frozen
from daemon.pulling import recheck
from store import fact_queries, release_queries, settling
from store.facts import WRITTEN, FactStatus
from store.releases import Candidate, CandidateStatus

Progress = Callable[[str, int, int], None]
KNOWN = 20_000  # of the base's own facts, from which samples are drawn; ids are hashes, so the first are any
# what the base knows already makes room for other facts, which are asked about too
ASKING_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A candidate with its decision."""

    candidate: int
    batch_id: str
    facts: int
    edits: int
    decision: policy.Decision
    release: int | None  # number of the accepted release
    seconds: dict[str, float]  # values and solve, checks
    report: dict[str, Any]  # of the checks, as JSON

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "candidate": self.candidate,
            "batch_id": self.batch_id,
            "facts": self.facts,
            "edits": self.edits,
            "accepted": self.decision.accepted,
            "reasons": list(self.decision.reasons),
            "release": self.release,
            "seconds": self.seconds,
            "measurements": self.report.get("measurements", []),
        }


def quiet(stage: str, done: int, total: int) -> None:
    """No progress shown."""


def certain(factd: Factd) -> Planned:
    """A plan whose sources were asked again, right before, and whose facts the base model was asked about.

    Facts of a source that could not be asked wait.
    """
    planned = plan(factd)
    found = {fact.id: fact for fact in planned.facts}
    subjects: dict[str, list[str]] = {}
    for id_ in planned.added:
        subjects.setdefault(found[id_].provenance.channel, []).append(found[id_].subject.id)
    unsure = recheck(factd, subjects)
    for _ in range(ASKING_ROUNDS):
        planned = plan(factd, unsure=unsure)
        fresh = [f for f in planned.facts if f.id in planned.added and not f.asked]
        if not fresh or not factd.config.planning.ask_base:
            break
        _forget_another_base(factd)
        said = asking.ask(factd, fresh)
        with factd.store.begin() as session:
            settling.note_answers(session, said, factd.judge, now=factd.now())
        log.info("base model asked", facts=len(said), **_tally(said))
    return planned


def _forget_another_base(factd: Factd) -> None:
    fingerprint = factd.workbench.model().fingerprint
    with factd.store.begin() as session:
        if release_queries.base_asked(session) != fingerprint:
            settling.forget_answers(session, factd.judge, now=factd.now())
            release_queries.note_base_asked(session, fingerprint, now=factd.now())


def _tally(said: Mapping[str, str]) -> dict[str, int]:
    return {name.replace(" ", "_"): list(said.values()).count(name) for name in set(said.values())}


def heads_changed(factd: Factd) -> bool:
    """Other head corrections are switched on than the live release has; the base alone gets none. Loads no model."""
    with factd.store.begin() as session:
        live = release_queries.live_release(session)
    if live is None or live.candidate_id is None or not live.fact_ids:
        return False
    folder = factd.candidate_folder(live.candidate_id) / "delta"
    if not (factd.workspace / "heads").exists() or not folder.exists():
        return False
    from editor.corrections import switched_on
    from editor.delta import delta_about

    about = delta_about(folder)
    wanted = [c.id for c in switched_on(factd.workspace, about["base_fingerprint"])]
    return wanted != list(about["settings"].get("head_corrections", []))


def edit(
    factd: Factd, *, who: str, why: str, again: bool = False, progress: Progress = quiet
) -> Edited:
    """Plan, solve and check: one accepted or rejected candidate, an accepted one with its release (not yet published).

    again: also where the same batch was rejected before. Raises: Refused: frozen, nothing to do, rejected before.
    """
    refuse_frozen(factd)
    planned = certain(factd)
    if not planned.changed and not heads_changed(factd):
        raise Refused(f"nothing to do: release {planned.live} holds all {len(planned.facts)} facts")
    with factd.store.begin() as session:
        before = fact_queries.previous(session, planned.facts)
        known = fact_queries.list_facts(session, status=(FactStatus.KNOWN,), limit=KNOWN)
        earlier = release_queries.list_candidates(session)
    batch = render.edit_batch(planned.facts, before, factd.plan)
    rejected = [
        c.id for c in earlier if c.batch_id == batch.id and c.status is CandidateStatus.REJECTED
    ]
    if rejected and not again:
        raise Refused(
            f"candidate {rejected[0]} with the same facts was rejected; change facts or gates, or use --again"
        )
    ids = [fact.id for fact in planned.facts]
    with factd.store.begin() as session:
        candidate = release_queries.create_candidate(
            session, batch_id=batch.id, fact_ids=ids, now=factd.now()
        )
    log.info("candidate planned", candidate=candidate.id, facts=len(ids), edits=len(batch))
    asked = render.probes(planned.facts, before, known, factd.plan)
    try:
        return _solved(factd, candidate, batch, asked, who=who, why=why, progress=progress)
    except BaseException:
        with factd.store.begin() as session:
            release_queries.abandon_unfinished(session, now=factd.now())
        raise


def _solved(
    factd: Factd,
    candidate: Candidate,
    batch: Any,
    asked: Any,
    *,
    who: str,
    why: str,
    progress: Progress,
) -> Edited:
    from editor import plugins
    from editor.corrections import switched_on, with_heads
    from editor.delta import save_delta
    from editor.report import run_checks

    _move(factd, candidate.id, CandidateStatus.PLANNED, CandidateStatus.SOLVING)
    started = time.monotonic()
    settings = factd.method_settings()
    terminator = str(getattr(settings, "terminator", ""))
    method = plugins.load("editor.methods", factd.config.method.name)
    model = factd.workbench.model()
    loaded = time.monotonic()
    facts_only = method.edit(
        model, batch, settings=settings, workspace=factd.workspace, progress=progress
    )
    heads = switched_on(factd.workspace, model.fingerprint) if batch.edits else ()
    delta = with_heads(model, facts_only, heads)
    folder = factd.candidate_folder(candidate.id)
    save_delta(delta, folder / "delta")
    solved = time.monotonic()
    _move(factd, candidate.id, CandidateStatus.SOLVING, CandidateStatus.CHECKING, delta_id=delta.id)
    base = factd.workbench.base_answers(asked, terminator)
    report = run_checks(model, asked, delta=delta, terminator=terminator, before=base).as_json()
    checked = time.monotonic()
    decision = policy.judge(
        report["measurements"], factd.gates, least_sample=factd.config.gates.least_sample
    )
    if not batch.edits:
        decision = policy.Decision(accepted=True, reasons=())  # the base itself: nothing is written
    (folder / "report.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    release = _decided(factd, candidate, delta.id, decision, report, who=who, why=why)
    seconds = {"load": loaded - started, "edit": solved - loaded, "checks": checked - solved}
    return Edited(
        candidate=candidate.id,
        batch_id=batch.id,
        facts=len(candidate.fact_ids),
        edits=len(batch),
        decision=decision,
        release=release,
        seconds={k: round(v, 3) for k, v in seconds.items()},
        report=report,
    )


def _move(
    factd: Factd, id_: int, before: CandidateStatus, after: CandidateStatus, **values: Any
) -> None:
    with factd.store.begin() as session:
        release_queries.move_candidate(session, id_, before, after, now=factd.now(), **values)
    log.info("candidate moved", candidate=id_, status=after.value)


def _decided(
    factd: Factd,
    candidate: Candidate,
    delta_id: str,
    decision: policy.Decision,
    report: dict[str, Any],
    *,
    who: str,
    why: str,
) -> int | None:
    """The verdict and, where it is good, the release, in one transaction; the release's number."""
    after = CandidateStatus.ACCEPTED if decision.accepted else CandidateStatus.REJECTED
    found = {"report": report, "reasons": list(decision.reasons)}
    with factd.store.begin() as session:
        now = factd.now()
        release_queries.move_candidate(
            session, candidate.id, CandidateStatus.CHECKING, after, now=now, **found
        )
        made = None
        if decision.accepted:
            made = release_queries.create_release(
                session,
                candidate_id=candidate.id,
                delta_id=delta_id,
                fact_ids=candidate.fact_ids,
                who=who,
                why=why,
                now=now,
            )
    log.info(
        "candidate judged",
        candidate=candidate.id,
        status=after.value,
        reasons=list(decision.reasons),
    )
    return made.number if made else None


def check(factd: Factd, number: int | None) -> dict[str, Any]:
    """The checks on a release (its delta as stored) or, for None, on the base; nothing is changed."""
    from editor.delta import load_delta
    from editor.report import run_checks

    with factd.store.begin() as session:
        release = release_queries.release(session, number) if number else None
        known = fact_queries.list_facts(session, status=(FactStatus.KNOWN,), limit=KNOWN)
        if release:
            facts = fact_queries.facts_by_id(session, release.fact_ids)
        else:
            facts = fact_queries.list_facts(session, status=WRITTEN, limit=KNOWN)
        before = fact_queries.previous(session, facts)
    asked = render.probes(facts, before, known, factd.plan)
    terminator = str(getattr(factd.method_settings(), "terminator", ""))
    delta = None
    if release and release.candidate_id:
        delta = load_delta(factd.candidate_folder(release.candidate_id) / "delta")
    base = factd.workbench.base_answers(asked, terminator)
    model = factd.workbench.model()
    return run_checks(model, asked, delta=delta, terminator=terminator, before=base).as_json()


def take_back(
    factd: Factd, ids: Sequence[str], *, who: str, why: str, progress: Progress = quiet
) -> Edited:
    """Withdraw facts and write the set without them: the weights that would exist had they never been ingested."""
    refuse_frozen(factd)
    with factd.store.begin() as session:
        settling.withdraw(session, ids, factd.judge, why=why, who=who, now=factd.now())
    found = edit(factd, who=who, why=why, progress=progress)
    if found.release is not None:
        publish(factd, found.release)
    return found


def facts_of_batch(factd: Factd, batch_id: str) -> tuple[str, ...]:
    """The facts that came with a candidate's batch: those its predecessor had not. Raises: Refused: no such batch."""
    with factd.store.begin() as session:
        found = release_queries.list_candidates(session, limit=1000)
        releases = release_queries.list_releases(session)
    match = next((c for c in found if c.batch_id.startswith(batch_id)), None)
    if match is None:
        raise Refused(f"no batch {batch_id!r}; `factd releases list` shows them")
    number = next((r.number for r in releases if r.candidate_id == match.id), 0)
    older = [r for r in releases if r.number < number]
    before = set(older[0].fact_ids) if older else set()
    return tuple(id_ for id_ in match.fact_ids if id_ not in before)
