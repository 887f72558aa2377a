"""The files of bases: written, checked, pruned. No model is loaded here.

How a base is made is in daemon/tasks/rebase.py. A base is a complete model with a manifest in
`state/bases/K`. It can be written again, with the same bytes, from its parent and the delta of the
release that it was made of. The original model (number 0) is the user's own folder and is never
changed.
"""

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.bases import FOLDER, Base, BaseStatus
from factd.store.model.releases import Release, ReleaseStatus

PRUNABLE = {
    BaseStatus.RETIRED: BaseStatus.PRUNED,
    BaseStatus.VERIFIED: BaseStatus.ABANDONED,  # another release was published before it
}
KEPT = (BaseStatus.VERIFIED, BaseStatus.ACTIVE, BaseStatus.RETIRED)  # bases with files on disk


def write(ledger: Ledger, paths: Paths, base: Base) -> Path:
    """Write a base from its parent and the delta of its release: all files or none.

    Raises: Refused: the release has no delta. EditorError.
    """
    from factd.editor.deltas.checkpoint import write_checkpoint
    from factd.editor.deltas.delta import load_delta

    with ledger.read() as session:
        made = queries.releases.release(session, base.release)
    if made.candidate_id is None:
        raise Refused(
            f"release {made.number} has no delta, so there is nothing to bake; make an edit first"
        )
    delta = load_delta(paths.candidate(made.candidate_id) / "delta")
    about = {"base": base.number, "parent": base.parent, "release": base.release, "why": base.why}
    folder = paths.base(base.number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_checkpoint(paths.base(base.parent), delta, folder, about)


def write_again(ledger: Ledger, paths: Paths, base: Base) -> None:
    """Write the files of an existing base again, as after a restore or on a damaged disk.

    Raises: Refused: the base was never verified, or the new files differ from the old ones. They
    stay on disk.
    """
    from factd.editor.models.model import fingerprint

    if not base.fingerprint:
        raise Refused(
            f"base {base.number} was never verified, so it cannot be written again; "
            "see `factd bases list`"
        )
    parent = paths.base(base.parent)
    if fingerprint(parent) != base.parent_fingerprint:
        raise Refused(
            f"base {base.number} was made from the model {base.parent_fingerprint[:12]}, "
            f"and {parent} holds another one; bring that model back first"
        )
    if fingerprint(write(ledger, paths, base)) != base.fingerprint:
        raise Refused(
            f"base {base.number} was written, but is not the {base.fingerprint[:12]} that it was; "
            "do not use it, and restore it from a backup"
        )


def write_all(ledger: Ledger, paths: Paths) -> None:
    """Write every base again that should have files, as after a restore.

    Pruned bases are written only while another base is made from them, and deleted again.
    """
    with ledger.read() as session:
        kept = queries.bases.list_bases(session, *KEPT)
        needed = {b.number: b for k in kept for b in queries.bases.lineage(session, k.number)}
    for _, base in sorted(needed.items()):
        write_again(ledger, paths, base)
    for number in needed.keys() - {base.number for base in kept}:
        delete_folder(paths.base(number))


def take_effect(ledger: Ledger, session: Session, release: Release, before: int) -> None:
    """Put the base of the new live release in effect, and mark the facts that are baked into it.

    before: the base that was in effect. Its answers about facts stay valid on a base that was baked
    from it, and on no other: else they are forgotten.
    """
    now = ledger.now()
    if not queries.bases.activate(session, release.base, now=now):
        return
    marked = queries.resolution.mark_baked(session, release.base, ledger.resolver, now=now)
    lineage = queries.bases.lineage(session, release.base)
    asked = queries.releases.queried_base(session)
    if lineage and lineage[0].parent == before and lineage[0].parent_fingerprint == asked:
        queries.releases.save_queried_base(session, lineage[0].fingerprint, now=now)
    else:
        queries.resolution.forget_base_answers(session, ledger.resolver, now=now)
    log.info("base in effect", base=release.base, before=before, facts_marked=marked)


def refuse_pruned(ledger: Ledger, number: int) -> None:
    """Raises: Refused: the files of this base are deleted."""
    if number:
        with ledger.read() as session:
            refuse_without_files(queries.bases.base(session, number))


def refuse_without_files(base: Base) -> None:
    """Raises: Refused: the base has a status without files."""
    if base.status not in KEPT:
        raise Refused(f"base {base.number} is {base.status}; nothing can be written from it")


def recover(ledger: Ledger, paths: Paths) -> list[str]:
    """Abandon bases whose process has ended, and delete folders that belong to no base.

    Returns a sentence for each abandoned base.
    """
    with ledger.changing() as session:
        left = queries.bases.list_bases(session, BaseStatus.PREPARING)
        for base in left:
            queries.bases.abandon(session, base, "its process ended", now=ledger.now())
        kept = {str(base.number) for base in queries.bases.list_bases(session, *KEPT)}
    root = paths.state / FOLDER
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name not in kept:
            shutil.rmtree(
                folder, ignore_errors=True
            )  # a process that was overtaken may still write into it
    return [f"base {base.number} was left unfinished and is abandoned" for base in left]


def abandon(ledger: Ledger, paths: Paths, base: Base, reason: str) -> None:
    """Abandon a base that cannot be used.

    Its files are deleted; its statistics stay for a retry.
    """
    with ledger.changing() as session:
        queries.bases.abandon(session, base, reason, now=ledger.now())
    shutil.rmtree(paths.base(base.number), ignore_errors=True)
    log.error("base abandoned", base=base.number, why=reason)


def why_needed(ledger: Ledger, versions: Versions, base: Base) -> str:
    """Why the files of a base must stay. Empty if they may be deleted."""
    if base.status not in PRUNABLE:
        return f"it is {base.status}"
    waiting = (ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
    with ledger.read() as session:
        on_disk = queries.bases.base_of_releases(session, versions.numbers())
        numbers = [r.number for r in queries.releases.releases_with_status(session, *waiting)]
        waits = queries.bases.base_of_releases(session, numbers)
    for state, base_of in (("lies on disk", on_disk), ("waits to be published", waits)):
        mine = sorted(number for number, its in base_of.items() if its == base.number)
        if mine:
            return f"release {mine[-1]} stands on it and {state}"
    return ""


def prune(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    workbench: Workbench,
    number: int,
    *,
    who: str,
    why: str,
) -> int:
    """Delete the files and statistics of a base that is no longer in effect.

    Returns the freed bytes.

    A rebase away from it cannot be undone afterwards.
    Raises: Refused: a release stands on the base, or it is the original model.
    """
    if number == 0:
        raise Refused("base 0 is the original model, which is not factd's to delete")
    with ledger.read() as session:
        base = queries.bases.base(session, number)
    needed = why_needed(ledger, versions, base)
    if needed:
        raise Refused(f"base {number} is not pruned: {needed}")
    with ledger.changing() as session:
        after = PRUNABLE[base.status]
        queries.bases.move_base(session, number, base.status, after, now=ledger.now(), reason=why)
        what = f"bases prune {number}"
        queries.releases.log_action(session, who=who, what=what, why=why, now=ledger.now())
    folders = [paths.base(number), *statistics_of(ledger, workbench, base)]
    freed = sum(delete_folder(folder) for folder in folders if folder.is_dir())
    log.info("base pruned", base=number, bytes=freed)
    return freed


def statistics_of(ledger: Ledger, workbench: Workbench, base: Base) -> list[Path]:
    """The second moments that only this base uses. After an undo two bases have the same bytes."""
    with ledger.read() as session:
        kept = [b for b in queries.bases.list_bases(session, *KEPT) if b.number != base.number]
    used = {b.fingerprint for b in kept} | {b.parent_fingerprint for b in kept}
    if base.fingerprint in {*used, base.parent_fingerprint}:
        return []
    return sorted((workbench.workspace / "moments").glob(f"{base.fingerprint[:16]}*"))


def delete_folder(folder: Path) -> int:
    """Delete a folder, renamed first so that nobody sees half of it. Returns the freed bytes."""
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    gone = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)
    return held
