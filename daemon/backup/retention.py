"""Pruning: deletes files and rows that nothing needs any more.

Needed is what can still be published, rolled back to or explained.

Kept are: facts and their history; releases, approvals and the audit log; what was decided about
candidates and in audits, and why; deltas and measurements of releases whose version is on disk,
that wait, or that a base was made of; every value that a candidate used within [retention] days
(others are computed again when they are needed); the base in effect, the one before it, and every
base that something on disk stands on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from factd.daemon.app import App
from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.run_tables import RetentionTable
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.publishing import bases
from factd.daemon.publishing.bases import delete_folder
from factd.store import operations, queries
from factd.store.model.releases import ReleaseStatus

WHO = "factd (prune)"


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted."""

    candidates: int  # folders
    values: int  # folders
    rows: int  # runs, tasks, and candidates whose measurements were deleted
    bytes: int
    bases: tuple[int, ...] = ()

    def sentence(self) -> str:
        """The result for people."""
        gone = f"base {', '.join(map(str, self.bases))}, " if self.bases else ""
        return (
            f"{gone}{self.candidates} candidates, {self.values} values, {self.rows} rows, "
            f"{self.bytes / 2**20:.1f} MiB deleted"
        )


def prune(app: App) -> Pruned:
    """Delete everything that [retention] does not keep."""
    table, now = app.config.retention, app.ledger.now()
    before = (now - timedelta(days=table.days)).timestamp()
    kept = kept_candidates(app.ledger, app.versions)
    candidates = [
        folder
        for folder in _folders(app.paths.candidate(0).parent)
        if folder.name.isdigit() and int(folder.name) not in kept and changed_at(folder) < before
    ]
    values = [
        folder
        for group in _folders(app.workbench.workspace / "values")
        for folder in _folders(group)
        if folder.stat().st_mtime < before
    ]
    freed = sum(delete_folder(folder) for folder in (*candidates, *values))
    old_bases = bases_to_prune(app.ledger, app.versions, app.config.retention)
    freed += sum(
        bases.prune(
            app.ledger, app.paths, app.versions, app.workbench, number, who=WHO, why="[retention]"
        )
        for number in old_bases
    )
    with app.ledger.begin() as session:
        old = now - timedelta(days=table.runs_days)
        rows = operations.runs.forget_runs(session, old) + operations.tasks.forget_tasks(
            session, old
        )
        rows += queries.evidence.forget_reports(session, old, kept)
        rows += operations.handovers.delete_closed(session, old, servers=app.fleet.servers)
        operations.handovers.forget_other_servers(session, app.fleet.servers)
    app.ledger.store.truncate_wal()
    pruned = Pruned(
        candidates=len(candidates), values=len(values), rows=rows, bytes=freed, bases=old_bases
    )
    log.info("pruned", candidates=pruned.candidates, values=pruned.values, rows=rows, bytes=freed)
    return pruned


def kept_candidates(ledger: Ledger, versions: Versions) -> set[int]:
    """Candidates whose delta may still be needed.

    These are the candidates of the live release, of waiting releases, of versions on disk and of
    bases, and the newest candidate.
    """
    statuses = (ReleaseStatus.LIVE, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
    with ledger.read() as session:
        needed = [r.candidate_id for r in queries.releases.releases_with_status(session, *statuses)]
        needed += queries.releases.candidates_of_releases(session, versions.numbers())
        baked = [base.release for base in queries.bases.list_bases(session) if base.fingerprint]
        needed += queries.releases.candidates_of_releases(session, baked)
        newest = queries.releases.list_candidates(session, limit=1)
    return {id_ for id_ in needed if id_ is not None} | {found.id for found in newest}


def bases_to_prune(
    ledger: Ledger, versions: Versions, retention: RetentionTable
) -> tuple[int, ...]:
    """Bases to delete: long out of effect, under no release, not needed for an undo."""
    before = ledger.now() - timedelta(days=retention.days)
    with ledger.read() as session:
        lineage = queries.bases.lineage(session, queries.bases.in_effect(session))
        retired = queries.bases.list_bases(session, *bases.PRUNABLE)
    previous = {base.parent for base in lineage[:1]}
    old = [base for base in retired if base.changed_at < before and base.number not in previous]
    return tuple(base.number for base in old if not bases.why_needed(ledger, versions, base))


def changed_at(folder: Path) -> float:
    """When something in a folder last changed, in seconds since 1970."""
    return max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from (path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
