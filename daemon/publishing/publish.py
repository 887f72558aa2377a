"""From an accepted release to the live one and back: publish, recover after a crash, roll back. No model is loaded."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from factd.daemon.approvals.doubts import outdated, why_waits
from factd.daemon.artefacts import proof
from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.errors import PublishFailed, Refused
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import bound, log
from factd.daemon.paths import Paths
from factd.daemon.publishers import Outgoing
from factd.daemon.publishing import bases, signing, verify
from factd.daemon.rollout import outbox
from factd.daemon.rollout.targets import held_versions
from factd.daemon.tracing import span
from factd.editor.files.checksum_cache import Sums
from factd.editor.files.folders import Sha256, sha256_file
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.releases import Release, ReleaseStatus

SUMS = "base-sums.json"  # beside the versions
WHOLE = "checkpoint"  # the publisher that fills a version's own folder


def refuse_frozen(ledger: Ledger) -> None:
    """Raises: Refused: an operator froze factd."""
    with ledger.begin() as session:
        flag = queries.releases.frozen(session)
    if flag:
        raise Refused(
            f"frozen by {flag.who} since {flag.since:%Y-%m-%d %H:%M}: {flag.why}; `factd unfreeze` to go on"
        )


def publish(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    approvals: ApprovalsTable,
    number: int,
) -> Release:
    """Bring a release out and make it the live one. The files are written again only where they are not on disk.

    Raises: Refused: frozen. PublishFailed: the previous release still serves.
    """
    refuse_frozen(ledger)
    refuse_unapproved(ledger, approvals, number)
    with span("publish", release=number), bound(release=number):
        return _bring_out(ledger, paths, versions, fleet, number)


def refuse_unapproved(ledger: Ledger, approvals: ApprovalsTable, number: int) -> None:
    """Raises: Refused: it waits for an operator, or what was approved is no longer true."""
    with ledger.read() as session:
        release = queries.releases.release(session, number)
    waits = why_waits(ledger, approvals, release)
    if waits:
        raise Refused(f"release {number} waits: {waits}; `factd approve {number} --why …`")
    gone = outdated(ledger, release) if release.live_at is None else ""
    if gone:
        raise Refused(f"release {number} is outdated: {gone}; the next edit makes another one")


def _bring_out(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    number: int,
    *,
    whole: bool = True,
) -> Release:
    with ledger.changing() as session:
        release = queries.releases.release(session, number)
        if release.status is ReleaseStatus.LIVE:
            return release
        before = release.status
        queries.releases.move_release(
            session, number, before, ReleaseStatus.PUBLISHING, now=ledger.now()
        )
    log.info("release publishing", release=number)
    try:
        if fleet.servers and not versions.has(0):
            write_version(ledger, paths, versions, replace_base(ledger))  # what servers go back to
        if not versions.has(number):
            write_version(ledger, paths, versions, release)
        verify.verify_version(versions, number, whole=whole)
        versions.switch(number, epoch=ledger.epoch, held=held_versions(ledger, fleet))
    except Overtaken:
        raise  # whoever took over has put it back
    except Exception as error:
        with ledger.changing() as session:
            queries.releases.move_release(
                session, number, ReleaseStatus.PUBLISHING, ReleaseStatus.ACCEPTED, now=ledger.now()
            )
        raise PublishFailed(
            f"release {number} was not published, the previous one still serves: {error}"
        ) from error
    return _made_live(ledger, versions, fleet, release)


def write_version(ledger: Ledger, paths: Paths, versions: Versions, release: Release) -> None:
    """Write a release's files from its base and its delta; what lay there is replaced. Raises: PublishFailed, EditorError."""
    sums, sign = Sums(versions.root / SUMS), signing.signer(versions.table)
    outgoing = outgoing_of(ledger, paths, release, sums.of)
    about: dict[str, Any] = {"facts": list(release.fact_ids), "base": release.base}
    about |= {"who": release.who, "why": release.why}
    fill = partial(_fill, ledger, paths, versions, outgoing)
    versions.write(release.number, fill, about, sha256=sums.of, sign=sign)
    sums.keep()


def outgoing_of(
    ledger: Ledger, paths: Paths, release: Release, sha256: Sha256 = sha256_file
) -> Outgoing:
    """What a release's files are made from. Raises: Refused: the base's are deleted. EditorError: the delta is not there."""
    bases.refuse_pruned(ledger, release.base)
    delta, made = None, None
    if release.candidate_id is not None:
        from factd.editor.deltas.delta import load_delta

        made = paths.candidate(release.candidate_id)
        delta = load_delta(made / "delta")
    base = paths.base(release.base)
    return Outgoing(number=release.number, base=base, delta=delta, made=made, sha256=sha256)


def write_again(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> None:
    """Write a release's files, whatever lies there; `current` stays. Raises: PublishFailed, EditorError."""
    with ledger.read() as session:
        release = queries.releases.release(session, number)
    write_version(ledger, paths, versions, release if number else replace_base(ledger))


def _fill(
    ledger: Ledger, paths: Paths, versions: Versions, release: Outgoing, folder: Path
) -> Mapping[str, Any]:
    """Each publisher's own; what the manifest says, by the publisher's name, but the checkpoint's directly."""
    told: dict[str, Any] = {}
    if getattr(versions.publishers[WHOLE].settings, "report", False):
        proof.copy_proof(proof.proof_folder(ledger, paths, release.number), folder)
    for name, publisher in versions.publishers.items():
        if name == WHOLE:
            told |= publisher.write(publisher.settings, release, folder)
        else:
            (folder / name).mkdir()
            told[name] = publisher.write(publisher.settings, release, folder / name)
    return told


def _made_live(ledger: Ledger, versions: Versions, fleet: Fleet, release: Release) -> Release:
    with ledger.changing() as session:
        before = queries.bases.in_effect(session)
        queries.releases.make_live(session, release.number, now=ledger.now())
        bases.take_effect(ledger, session, release, before)
        queries.settle.mark_live(session, release.fact_ids, now=ledger.now())
        outbox.plan_handovers(ledger, versions, fleet, session)
        found = queries.releases.release(session, release.number)
    log.info("release live", release=release.number, facts=len(release.fact_ids))
    return found


def recover(ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet) -> list[str]:
    """What another process left half done is finished or abandoned, and that process is kept out. What was done, in words."""
    done = bases.recover(ledger, paths)
    if ledger.epoch is not None:
        versions.fence(ledger.epoch)
    with ledger.changing() as session:
        queries.releases.ensure_base(session, now=ledger.now())
        abandoned = queries.releases.abandon_unfinished(session, now=ledger.now())
        halfway = queries.releases.releases_in(session, ReleaseStatus.PUBLISHING)
    if abandoned:
        done.append(f"{abandoned} unfinished candidates abandoned")
    for release in halfway:
        if versions.current() == release.number:
            _made_live(ledger, versions, fleet, release)
            done.append(f"release {release.number} was out already and is live")
        else:
            with ledger.changing() as session:
                back = (ReleaseStatus.PUBLISHING, ReleaseStatus.ACCEPTED)
                queries.releases.move_release(session, release.number, *back, now=ledger.now())
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
    """Make an earlier release the live one: a link is swapped, no model is loaded. Freezes, so that nothing undoes it."""
    with ledger.changing() as session:
        queries.releases.release(session, number)
        queries.releases.record(
            session, who=who, what=f"rollback --to {number}", why=why, now=ledger.now()
        )
        reason = f"rolled back to release {number}: {why}"
        queries.releases.freeze(session, why=reason, who=who, now=ledger.now())
    fresh = number == 0 and not versions.has(number)
    if fresh:
        write_again(ledger, paths, versions, number)
    if not versions.has(number):
        raise PublishFailed(
            f"version {number} was pruned from the disk; `factd releases publish {number}` writes it again"
        )
    with span("roll back", release=number), bound(release=number):
        return _bring_out(ledger, paths, versions, fleet, number, whole=fresh)


def replace_base(ledger: Ledger) -> Release:
    """Release 0, the base model."""
    with ledger.begin() as session:
        return replace(queries.releases.ensure_base(session, now=ledger.now()), candidate_id=None)
