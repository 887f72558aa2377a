"""From an accepted release to the live one and back: publish, recover after a crash, roll back.

No model is loaded here.
"""

from factd.daemon.approvals.doubts import outdated, why_waits
from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.errors import PublishFailed, Refused
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import bound, log
from factd.daemon.paths import Paths
from factd.daemon.publishing import bases, verify
from factd.daemon.publishing.version_files import (
    base_release,
    why_unwritable,
    write_again,
    write_version,
)
from factd.daemon.rollout import outbox
from factd.daemon.rollout.targets import held_versions
from factd.daemon.tracing import span
from factd.editor.errors import EditorError
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.releases import Release, ReleaseStatus


def publish(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    approvals: ApprovalsTable,
    number: int,
) -> Release:
    """Publish a release and make it the live one. A version that is on disk is not written again.

    Raises: Refused: factd is frozen, or the release waits for an approval. PublishFailed: the
    previous release still serves.
    """
    ledger.refuse_if_frozen()
    refuse_unapproved(ledger, approvals, number)
    with span("publish", release=number), bound(release=number):
        return _bring_out(ledger, paths, versions, fleet, number)


def refuse_unapproved(ledger: Ledger, approvals: ApprovalsTable, number: int) -> None:
    """Raises: Refused: the release waits for an operator, or one of its facts was taken back."""
    with ledger.read() as session:
        release = queries.releases.release(session, number)
    waits = why_waits(ledger, approvals, release)
    if waits:
        raise Refused(f"release {number} waits: {waits}; `factd approve {number} --why …`")
    gone = outdated(ledger, release) if release.live_at is None else ""
    if gone:
        raise Refused(
            f"release {number} is outdated: {gone}; the next edit makes a new release without it"
        )


def _bring_out(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    number: int,
    *,
    whole: bool = True,
) -> Release:
    """Put a version on disk, verify it, switch to it, and make its release the live one."""
    with ledger.changing() as session:
        release = queries.releases.release(session, number)
        is_live = release.status is ReleaseStatus.LIVE
        if is_live and versions.current() == number and versions.has(number):
            return release
        if not is_live:
            after = ReleaseStatus.PUBLISHING
            queries.releases.move_release(session, number, release.status, after, now=ledger.now())
    log.info("release publishing", release=number)
    try:
        _put_in_place(ledger, paths, versions, fleet, release, whole=whole)
    except Overtaken:
        raise  # the process that took over has reset the status
    except Exception as error:
        if not is_live:
            _reset_status(ledger, number)
        raise PublishFailed(
            f"release {number} was not published, the previous one still serves: {error}"
        ) from error
    return release if is_live else _make_live(ledger, versions, fleet, release)


def _put_in_place(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    release: Release,
    *,
    whole: bool,
) -> None:
    number = release.number
    if fleet.servers and not versions.has(0):
        write_version(ledger, paths, versions, base_release(ledger))  # servers go back to it
    if not versions.has(number):
        write_again(ledger, paths, versions, number)
    verify.verify_version(versions, number, whole=whole)
    versions.switch(number, epoch=ledger.epoch, held=held_versions(ledger, fleet))


def _reset_status(ledger: Ledger, number: int) -> None:
    """A release that was to be published is an accepted one again."""
    before, after = ReleaseStatus.PUBLISHING, ReleaseStatus.ACCEPTED
    with ledger.changing() as session:
        queries.releases.move_release(session, number, before, after, now=ledger.now())


def _make_live(ledger: Ledger, versions: Versions, fleet: Fleet, release: Release) -> Release:
    with ledger.changing() as session:
        before = queries.bases.in_effect(session)
        queries.releases.make_live(session, release.number, now=ledger.now())
        bases.take_effect(ledger, session, release, before)
        queries.resolution.mark_live(session, release.fact_ids, now=ledger.now())
        outbox.plan_handovers(ledger, versions, fleet, session)
        live = queries.releases.release(session, release.number)
    log.info("release live", release=release.number, facts=len(release.fact_ids))
    return live


def recover(ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet) -> list[str]:
    """Finish or abandon what another process left unfinished, and keep that process out.

    Returns a sentence for each thing that was done.
    """
    done = bases.recover(ledger, paths)
    if ledger.epoch is not None:
        versions.fence(ledger.epoch)
    with ledger.changing() as session:
        queries.releases.ensure_release_zero(session, now=ledger.now())
        abandoned = queries.releases.abandon_unfinished(session, now=ledger.now())
        unfinished = queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING)
    if abandoned:
        done.append(f"{abandoned} unfinished candidates abandoned")
    for release in unfinished:
        if versions.current() == release.number:
            _make_live(ledger, versions, fleet, release)
            done.append(f"release {release.number} was published already and is live now")
        else:
            _reset_status(ledger, release.number)
            done.append(f"release {release.number} waits to be published again")
    for sentence in done:
        log.info("recovered", what=sentence)
    return done


def roll_back_to(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    number: int,
    *,
    who: str,
    why: str,
) -> Release:
    """Make an earlier release the live one, and freeze factd, so that no edit undoes the rollback.

    Usually a link is renamed, which takes milliseconds. A version that is no longer on disk is
    written again first, from its base and its delta; this needs neither a model nor a GPU.
    Everything is checked before anything changes: a rollback that fails neither freezes factd nor
    enters the audit log.

    Raises: NotFound; Refused: the release was never live, or cannot be written again.
    PublishFailed: the version is damaged, or could not be written or switched to.
    """
    _prepare_rollback(ledger, paths, versions, number)
    with ledger.changing() as session:
        what, now = f"rollback --to {number}", ledger.now()
        queries.releases.log_action(session, who=who, what=what, why=why, now=now)
        reason = f"rolled back to release {number}: {why}"
        queries.releases.freeze(session, why=reason, who=who, now=now)
    with span("roll back", release=number), bound(release=number):
        return _bring_out(ledger, paths, versions, fleet, number, whole=False)


def _prepare_rollback(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> None:
    """The version is on disk and whole afterwards. Raises: as `roll_back_to`."""
    with ledger.read() as session:
        release = queries.releases.release(session, number)
    if number and release.live_at is None:
        raise Refused(
            f"release {number} was never live; `factd releases list` shows the ones that were"
        )
    on_disk = versions.has(number)
    if not on_disk:
        refuse_unwritable(ledger, paths, versions, release)
        log.info("version not on disk, written again", release=number)
        try:
            write_again(ledger, paths, versions, number)
        except (EditorError, OSError) as error:
            raise PublishFailed(
                f"version {number} could not be written again, nothing was changed: {error}"
            ) from error
    verify.verify_version(versions, number, whole=not on_disk)


def refuse_unwritable(ledger: Ledger, paths: Paths, versions: Versions, release: Release) -> None:
    """Raises: Refused: a version cannot be written again; the error names a rollback that works."""
    why = why_unwritable(ledger, paths, release)
    if not why:
        return
    other = nearest_rollback(ledger, paths, versions, release.number)
    works = f"; `factd rollback --to {other}` works" if other is not None else ""
    raise Refused(
        f"release {release.number} cannot be rolled back to, nothing was changed: "
        f"its version is not on disk, and {why}{works}"
    )


def nearest_rollback(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> int | None:
    """The release to roll back to instead: the newest earlier one that works, else a later one."""
    with ledger.read() as session:
        releases = queries.releases.list_releases(session)  # newest first
    were_live = [r for r in releases if r.live_at and r.status is not ReleaseStatus.LIVE]
    earlier = [r for r in were_live if r.number < number]
    later = [r for r in reversed(were_live) if r.number > number]
    for release in (*earlier, *later):
        if versions.has(release.number) or not why_unwritable(ledger, paths, release):
            return release.number
    return None
