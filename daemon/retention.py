"""What `prune` deletes: files and rows that nothing which can still be published, rolled back to or explained needs.

Kept are: facts and their history, releases, approvals, the audit log, what was decided of candidates and in audits and why;
deltas and measurements of releases whose version is on disk or that wait; every value that a candidate used within
[retention] days (others are computed again when they are needed).
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from daemon.bootstrap import Factd
from daemon.log import log
from store import (
    handover_queries,
    measured_queries,
    release_queries,
    run_queries,
    task_queries,
)
from store.releases import ReleaseStatus


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted."""

    candidates: int  # folders
    values: int  # folders
    rows: int  # runs, tasks, and candidates whose measurements were forgotten
    bytes: int

    def said(self) -> str:
        """In words."""
        return (
            f"{self.candidates} candidates, {self.values} values, {self.rows} rows, "
            f"{self.bytes / 2**20:.1f} MiB deleted"
        )


def prune(factd: Factd) -> Pruned:
    """Delete what [retention] does not keep."""
    table, now = factd.config.retention, factd.now()
    before = (now - timedelta(days=table.days)).timestamp()
    kept = kept_candidates(factd)
    candidates = [
        folder
        for folder in _folders(factd.candidate_folder(0).parent)
        if folder.name.isdigit() and int(folder.name) not in kept and changed_at(folder) < before
    ]
    values = [
        folder
        for shelf in _folders(factd.workspace / "values")
        for folder in _folders(shelf)
        if folder.stat().st_mtime < before
    ]
    freed = sum(_deleted(folder) for folder in (*candidates, *values))
    with factd.store.begin() as session:
        old = now - timedelta(days=table.runs_days)
        rows = run_queries.forget_runs(session, old) + task_queries.forget_tasks(session, old)
        rows += measured_queries.forget_reports(session, old, kept)
        rows += handover_queries.forget(session, old, servers=factd.servers)
        handover_queries.keep_only(session, factd.servers)
    factd.store.tidy()
    found = Pruned(candidates=len(candidates), values=len(values), rows=rows, bytes=freed)
    log.info("pruned", candidates=found.candidates, values=found.values, rows=rows, bytes=freed)
    return found


def kept_candidates(factd: Factd) -> set[int]:
    """Candidates whose delta may be needed: of the live release, of those that wait, of versions on disk, and the newest."""
    statuses = (ReleaseStatus.LIVE, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
    with factd.store.read() as session:
        needed = [r.candidate_id for r in release_queries.releases_in(session, *statuses)]
        needed += release_queries.candidates_of(session, factd.versions.numbers())
        newest = release_queries.list_candidates(session, limit=1)
    return {id_ for id_ in needed if id_ is not None} | {found.id for found in newest}


def changed_at(folder: Path) -> float:
    """When something in a folder last changed, seconds since 1970."""
    return max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from (path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())


def _deleted(folder: Path) -> int:
    """Renamed first, so that nobody sees half of it; the bytes that it held."""
    held = sum(
        (Path(root) / name).stat().st_size for root, _, names in os.walk(folder) for name in names
    )
    gone = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)
    return held
