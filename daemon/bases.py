"""Bases as files: written, looked after, pruned. No model is loaded here; how one comes to be is in daemon/rebase.py.

A base lies in `state/bases/K`, whole, with a manifest. It can be written again from its parent and the delta of the release
that it was made of, with the same bytes. The original model (number 0) is the user's own folder and is never touched.
"""

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from daemon.bootstrap import Factd
from daemon.errors import PublishFailed, Refused
from daemon.log import log
from store import base_queries, release_queries, settling
from store.bases import FOLDER, Base, BaseStatus
from store.releases import Release, ReleaseStatus

KEPT = (BaseStatus.VERIFIED, BaseStatus.ACTIVE, BaseStatus.RETIRED)  # whose files are there


def write(factd: Factd, base: Base) -> Path:
    """Its files, from its parent and the delta of the release that it holds; whole or not at all. Raises: EditorError."""
    from editor.checkpoint import write_checkpoint
    from editor.delta import load_delta

    with factd.store.read() as session:
        made = release_queries.release(session, base.release)
    if made.candidate_id is None:
        raise Refused(f"release {made.number} has no delta; there is nothing to bake")
    delta = load_delta(factd.candidate_folder(made.candidate_id) / "delta")
    about = {"base": base.number, "parent": base.parent, "release": base.release, "why": base.why}
    folder = factd.base_folder(base.number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_checkpoint(factd.base_folder(base.parent), delta, folder, about)


def write_again(factd: Factd, number: int) -> Base:
    """The files of a base that was made before, as after a restore or on a damaged disk.

    Raises: Refused: it has none, or they are not the bytes that it had.
    """
    from editor.model import fingerprint

    with factd.store.read() as session:
        base = base_queries.base(session, number)
    if base.status not in KEPT:
        raise Refused(f"base {number} is {base.status}; it has no files")
    if fingerprint(write(factd, base)) != base.fingerprint:
        raise Refused(
            f"base {number} was written, but is not the {base.fingerprint[:12]} that it was: base {base.parent} is another "
            "model than then; bring that one back"
        )
    return base


def take_effect(factd: Factd, session: Session, release: Release, before: int) -> None:
    """A release has just become the live one: its base is in effect, and facts are marked by what that holds.

    before: the base that was in effect. What it said when it was asked still holds on one that was baked from it, and on no
    other.
    """
    now = factd.now()
    if not base_queries.take_effect(session, release.base, now=now):
        return
    marked = settling.mark_baked(session, release.base, factd.judge, now=now)
    lineage = base_queries.lineage(session, release.base)
    asked = release_queries.base_asked(session)
    if lineage and lineage[0].parent == before and lineage[0].parent_fingerprint == asked:
        release_queries.note_base_asked(session, lineage[0].fingerprint, now=now)
    else:
        settling.forget_answers(session, factd.judge, now=now)
    log.info("base in effect", base=release.base, before=before, facts_marked=marked)


def refuse_pruned(factd: Factd, number: int, release: int) -> None:
    """Raises: PublishFailed: the base that a release's files are made from is gone."""
    with factd.store.read() as session:
        base = base_queries.base(session, number) if number else None
    if base is not None and base.status not in KEPT:
        raise PublishFailed(
            f"release {release} stands on base {number}, which is {base.status}; only a version that lies on disk could be served"
        )


def recover(factd: Factd) -> list[str]:
    """Bases that nobody prepares any more are abandoned, and folders that belong to none are deleted. In words."""
    with factd.changing() as session:
        left = base_queries.list_bases(session, BaseStatus.PREPARING)
        for base in left:
            base_queries.abandon(session, base, "its process ended", now=factd.now())
        kept = {str(base.number) for base in base_queries.list_bases(session, *KEPT)}
    root = factd.config.state_dir / FOLDER
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name not in kept:
            shutil.rmtree(
                folder, ignore_errors=True
            )  # one that was overtaken may still write into it
    return [f"base {base.number} was left unfinished and is abandoned" for base in left]


def abandon(factd: Factd, base: Base, reason: str) -> None:
    """A base that cannot be used: its files are deleted. The statistics stay, for who tries again."""
    with factd.changing() as session:
        base_queries.abandon(session, base, reason, now=factd.now())
    shutil.rmtree(factd.base_folder(base.number), ignore_errors=True)
    log.error("base abandoned", base=base.number, why=reason)


def why_needed(factd: Factd, base: Base) -> str:
    """Why the files of a base must stay; empty where they may go."""
    if base.status is not BaseStatus.RETIRED:
        return f"it is {base.status}"
    waiting = (ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
    with factd.store.read() as session:
        on_disk = base_queries.bases_of_releases(session, factd.versions.numbers())
        found = [r.number for r in release_queries.releases_in(session, *waiting)]
        waits = base_queries.bases_of_releases(session, found)
    for said, numbers in (("lies on disk", on_disk), ("waits to be published", waits)):
        mine = sorted(number for number, its in numbers.items() if its == base.number)
        if mine:
            return f"release {mine[-1]} stands on it and {said}"
    return ""


def prune(factd: Factd, number: int, *, who: str, why: str) -> int:
    """Delete the files and the statistics of a base that is in effect no more; the bytes that they held.

    What was baked out of it cannot be undone from then on. Raises: Refused: something stands on it; the original model.
    """
    if number == 0:
        raise Refused("base 0 is the original model, which is not factd's to delete")
    with factd.store.read() as session:
        base = base_queries.base(session, number)
    needed = why_needed(factd, base)
    if needed:
        raise Refused(f"base {number} is not pruned: {needed}")
    with factd.changing() as session:
        before, after = BaseStatus.RETIRED, BaseStatus.PRUNED
        base_queries.move_base(session, number, before, after, now=factd.now(), reason=why)
        what = f"bases prune {number}"
        release_queries.record(session, who=who, what=what, why=why, now=factd.now())
    statistics = factd.workspace / "moments"
    folders = [factd.base_folder(number), *statistics.glob(f"{base.fingerprint[:16]}*")]
    freed = sum(deleted(folder) for folder in folders if folder.is_dir())
    log.info("base pruned", base=number, bytes=freed)
    return freed


def deleted(folder: Path) -> int:
    """Renamed first, so that nobody sees half of it; the bytes that it held."""
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    gone = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)
    return held
