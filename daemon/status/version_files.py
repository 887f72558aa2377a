"""Whether a release's files are on disk, and what an operator does to get them written again."""

from factd.daemon.artefacts.versions import Versions
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.store import queries
from factd.store.model.bases import Base, BaseStatus
from factd.store.model.releases import Release, ReleaseStatus

WITHOUT_FILES = (BaseStatus.PREPARING, BaseStatus.PRUNED, BaseStatus.ABANDONED)


def files_text(ledger: Ledger, paths: Paths, versions: Versions, release: Release) -> str:
    """Where the files of a release stand, in one sentence for the operator."""
    if versions.has(release.number):
        return "the files are on disk, ready to serve"
    if release.status is ReleaseStatus.ACCEPTED and release.live_at is None:
        return "the files are not written yet; publishing the release writes them"
    return missing_files_text(ledger, paths, release)


def missing_files_text(ledger: Ledger, paths: Paths, release: Release) -> str:
    """That the files of a release are not on disk, and the command that writes them again.

    Files are made from the base and the delta. `factd releases write` makes them again and leaves
    the live release as it is. It cannot where the base was pruned or the delta was deleted
    ([retention]).
    """
    number = release.number
    head = f"the files of release {number} are not on disk"
    base = _base(ledger, release)
    if base is not None and base.status in WITHOUT_FILES:
        return f"{head} and cannot be written again, because base {base.number} is {base.status}"
    command = f"`factd releases write {number}`"
    if release.candidate_id is not None:
        delta = paths.candidate(release.candidate_id) / "delta"
        if not delta.is_dir():
            return (
                f"{head} and its delta was deleted: "
                f"put {delta} back from a backup, and run {command}"
            )
    return f"{head}: run {command} on the machine of the daemon"


def _base(ledger: Ledger, release: Release) -> Base | None:
    """The baked base that a release stands on; None for the original model."""
    if not release.base:
        return None
    with ledger.read() as session:
        return queries.bases.base(session, release.base)
