"""Other steps: the checks on a release by hand, facts taken back. Each does one piece of work and says what it did."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factd.daemon.app import Factd, on_base
from factd.daemon.editing import candidates
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.editing.edit import Edited, edit
from factd.daemon.errors import Refused
from factd.daemon.publishing.publish import publish, refuse_frozen
from factd.store import queries
from factd.store.model.facts import WRITTEN

CHECKED = 20_000  # facts that `check` looks at on the base


def check(factd: Factd, number: int | None) -> dict[str, Any]:
    """The checks on a release (its delta as stored) or, for None, on the base; nothing is changed.

    A release is compared with the base and with the live one, and judged by the gates as they are now.
    """
    from factd.editor.deltas.delta import load_delta
    from factd.editor.exams.exam import Memory
    from factd.editor.exams.report import run_checks

    live = candidates.live_of(factd)
    with factd.store.read() as session:
        release = queries.releases.release(session, number) if number else None
        if release:
            facts = queries.facts.facts_by_id(session, release.fact_ids)
        else:
            facts = queries.facts.list_facts(session, status=WRITTEN, limit=CHECKED)
    factd = on_base(factd, release.base) if release else factd
    case = candidates.case_of(factd, facts, replace(live, fact_ids=()))
    if release is None or release.candidate_id is None:
        model, base = factd.workbench.model(), factd.workbench.base(case.exam, factd.terminator)
        return run_checks(model, case.exam, terminator=factd.terminator, base=base).as_json()
    folder = factd.candidate_folder(release.candidate_id)
    memory = Memory.of(folder / "answers.json")
    found = candidates.examined(factd, case, load_delta(folder / "delta"), memory=memory)
    return dict(found.report)


def take_back(
    factd: Factd, ids: Sequence[str], *, who: str, why: str, progress: Progress = quiet
) -> Edited:
    """Withdraw facts and write the set without them: the weights that would exist had they never been ingested."""
    refuse_frozen(factd)
    with factd.store.begin() as session:
        queries.resolution.withdraw(session, ids, factd.resolver, why=why, who=who, now=factd.now())
        what = f"rollback --fact {' '.join(ids[:10])}"
        queries.releases.log_action(session, who=who, what=what, why=why, now=factd.now())
    found = edit(factd, who=who, why=why, progress=progress)
    if found.release is not None:
        publish(factd, found.release)
    return found


def facts_of_batch(factd: Factd, batch_id: str) -> tuple[str, ...]:
    """The facts that came with a candidate's batch: those its predecessor had not. Raises: Refused: no such batch."""
    with factd.store.begin() as session:
        found = queries.releases.list_candidates(session, limit=1000)
        releases = queries.releases.list_releases(session)
    match = next((c for c in found if c.batch_id.startswith(batch_id)), None)
    if match is None:
        raise Refused(f"no batch {batch_id!r}; `factd releases list` shows them")
    made = next((r for r in releases if r.candidate_id == match.id), None)
    older = [r for r in releases if made and r.number < made.number and r.base == made.base]
    before = set(older[0].fact_ids) if older else set()
    return tuple(id_ for id_ in match.fact_ids if id_ not in before)
