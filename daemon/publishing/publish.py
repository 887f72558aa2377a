"""From an accepted release to the live one and back: publish, recover after a crash, roll back. No model is loaded."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from factd.daemon.app import Factd
from factd.daemon.approvals import approvals
from factd.daemon.artefacts import proof
from factd.daemon.errors import PublishFailed, Refused
from factd.daemon.log import bound, log
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


def refuse_frozen(factd: Factd) -> None:
    """Raises: Refused: an operator froze factd."""
    with factd.store.begin() as session:
        flag = queries.releases.frozen(session)
    if flag:
        raise Refused(
            f"frozen by {flag.who} since {flag.since:%Y-%m-%d %H:%M}: {flag.why}; `factd unfreeze` to go on"
        )


def publish(factd: Factd, number: int) -> Release:
    """Bring a release out and make it the live one. The files are written again only where they are not on disk.

    Raises: Refused: frozen. PublishFailed: the previous release still serves.
    """
    refuse_frozen(factd)
    refuse_unapproved(factd, number)
    with span("publish", release=number), bound(release=number):
        return _bring_out(factd, number)


def refuse_unapproved(factd: Factd, number: int) -> None:
    """Raises: Refused: it waits for an operator, or what was approved is no longer true."""
    with factd.store.read() as session:
        release = queries.releases.release(session, number)
    waits = approvals.why_waits(factd, release)
    if waits:
        raise Refused(f"release {number} waits: {waits}; `factd approve {number} --why …`")
    gone = approvals.outdated(factd, release) if release.live_at is None else ""
    if gone:
        raise Refused(f"release {number} is outdated: {gone}; the next edit makes another one")


def _bring_out(factd: Factd, number: int, *, whole: bool = True) -> Release:
    with factd.changing() as session:
        release = queries.releases.release(session, number)
        if release.status is ReleaseStatus.LIVE:
            return release
        before = release.status
        queries.releases.move_release(
            session, number, before, ReleaseStatus.PUBLISHING, now=factd.now()
        )
    log.info("release publishing", release=number)
    try:
        if factd.servers and not factd.versions.has(0):
            write_version(factd, replace_base(factd))  # what servers go back to
        if not factd.versions.has(number):
            write_version(factd, release)
        verify.verify_version(factd, number, whole=whole)
        factd.versions.switch(number, epoch=factd.epoch, held=held_versions(factd))
    except Overtaken:
        raise  # whoever took over has put it back
    except Exception as error:
        with factd.changing() as session:
            queries.releases.move_release(
                session, number, ReleaseStatus.PUBLISHING, ReleaseStatus.ACCEPTED, now=factd.now()
            )
        raise PublishFailed(
            f"release {number} was not published, the previous one still serves: {error}"
        ) from error
    return _made_live(factd, release)


def write_version(factd: Factd, release: Release) -> None:
    """Write a release's files from its base and its delta; what lay there is replaced. Raises: PublishFailed, EditorError."""
    sums, sign = Sums(factd.versions.root / SUMS), signing.signer(factd.config.publish)
    outgoing = outgoing_of(factd, release, sums.of)
    about: dict[str, Any] = {"facts": list(release.fact_ids), "base": release.base}
    about |= {"who": release.who, "why": release.why}
    fill = partial(_fill, factd, outgoing)
    factd.versions.write(release.number, fill, about, sha256=sums.of, sign=sign)
    sums.keep()


def outgoing_of(factd: Factd, release: Release, sha256: Sha256 = sha256_file) -> Outgoing:
    """What a release's files are made from. Raises: Refused: the base's are deleted. EditorError: the delta is not there."""
    bases.refuse_pruned(factd, release.base)
    delta, made = None, None
    if release.candidate_id is not None:
        from factd.editor.deltas.delta import load_delta

        made = factd.candidate_folder(release.candidate_id)
        delta = load_delta(made / "delta")
    base = factd.base_folder(release.base)
    return Outgoing(number=release.number, base=base, delta=delta, made=made, sha256=sha256)


def write_again(factd: Factd, number: int) -> None:
    """Write a release's files, whatever lies there; `current` stays. Raises: PublishFailed, EditorError."""
    with factd.store.read() as session:
        release = queries.releases.release(session, number)
    write_version(factd, release if number else replace_base(factd))


def _fill(factd: Factd, release: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Each publisher's own; what the manifest says, by the publisher's name, but the checkpoint's directly."""
    told: dict[str, Any] = {}
    if getattr(factd.publishers[WHOLE].settings, "report", False):
        proof.place(proof.made_for(factd, release.number), folder)
    for name, publisher in factd.publishers.items():
        if name == WHOLE:
            told |= publisher.write(publisher.settings, release, folder)
        else:
            (folder / name).mkdir()
            told[name] = publisher.write(publisher.settings, release, folder / name)
    return told


def _made_live(factd: Factd, release: Release) -> Release:
    with factd.changing() as session:
        before = queries.bases.in_effect(session)
        queries.releases.make_live(session, release.number, now=factd.now())
        bases.take_effect(factd, session, release, before)
        queries.resolution.mark_live(session, release.fact_ids, now=factd.now())
        outbox.arrange(factd, session)
        found = queries.releases.release(session, release.number)
    log.info("release live", release=release.number, facts=len(release.fact_ids))
    return found


def recover(factd: Factd) -> list[str]:
    """What another process left half done is finished or abandoned, and that process is kept out. What was done, in words."""
    done = bases.recover(factd)
    if factd.epoch is not None:
        factd.versions.fence(factd.epoch)
    with factd.changing() as session:
        queries.releases.ensure_release_zero(session, now=factd.now())
        abandoned = queries.releases.abandon_unfinished(session, now=factd.now())
        halfway = queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING)
    if abandoned:
        done.append(f"{abandoned} unfinished candidates abandoned")
    for release in halfway:
        if factd.versions.current() == release.number:
            _made_live(factd, release)
            done.append(f"release {release.number} was out already and is live")
        else:
            with factd.changing() as session:
                back = (ReleaseStatus.PUBLISHING, ReleaseStatus.ACCEPTED)
                queries.releases.move_release(session, release.number, *back, now=factd.now())
            done.append(f"release {release.number} waits to be published again")
    for sentence in done:
        log.info("recovered", what=sentence)
    return done


def roll_back_to(factd: Factd, number: int, *, who: str, why: str) -> Release:
    """Make an earlier release the live one: a link is swapped, no model is loaded. Freezes, so that nothing undoes it."""
    with factd.changing() as session:
        queries.releases.release(session, number)
        queries.releases.log_action(
            session, who=who, what=f"rollback --to {number}", why=why, now=factd.now()
        )
        reason = f"rolled back to release {number}: {why}"
        queries.releases.freeze(session, why=reason, who=who, now=factd.now())
    fresh = number == 0 and not factd.versions.has(number)
    if fresh:
        write_again(factd, number)
    if not factd.versions.has(number):
        raise PublishFailed(
            f"version {number} was pruned from the disk; `factd releases publish {number}` writes it again"
        )
    with span("roll back", release=number), bound(release=number):
        return _bring_out(factd, number, whole=fresh)


def replace_base(factd: Factd) -> Release:
    """Release 0, the base model."""
    with factd.store.begin() as session:
        return replace(
            queries.releases.ensure_release_zero(session, now=factd.now()), candidate_id=None
        )
