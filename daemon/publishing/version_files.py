"""The files of a version, written from its base and its delta.

No model is loaded, no GPU is used.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.artefacts import proof, truncated
from factd.daemon.artefacts.versions import Versions
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.publishers import Outgoing
from factd.daemon.publishing import bases, signing
from factd.editor.files.checksum_cache import ChecksumCache
from factd.editor.files.folders import Sha256, sha256_file
from factd.editor.files.manifests import MANIFEST
from factd.store import queries
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta

SUMS = "base-sums.json"  # a file beside the versions
WHOLE = "checkpoint"  # the publisher that fills a version's own folder


def write_version(ledger: Ledger, paths: Paths, versions: Versions, release: Release) -> None:
    """Write a release's version from its base and its delta. An earlier one is replaced.

    Raises: PublishFailed, EditorError.
    """
    sums, sign = ChecksumCache(versions.root / SUMS), signing.signer(versions.table)
    outgoing = outgoing_of(ledger, paths, release, sums.sha256)
    about: dict[str, Any] = {"facts": list(release.fact_ids), "base": release.base}
    about |= {"who": release.who, "why": release.why}
    fill = partial(_fill, ledger, paths, versions, outgoing)
    versions.write(release.number, fill, about, sha256=sums.sha256, sign=sign)
    sums.save()


def write_again(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> None:
    """Write a release's version, whatever is on disk. The link `current` stays as it is.

    Raises: PublishFailed, EditorError.
    """
    with ledger.read() as session:
        release = queries.releases.release(session, number)
    write_version(ledger, paths, versions, release if number else base_release(ledger))


def base_release(ledger: Ledger) -> Release:
    """Release 0, the base model. It has no candidate, whatever its row says."""
    with ledger.begin() as session:
        return replace(
            queries.releases.ensure_release_zero(session, now=ledger.now()), candidate_id=None
        )


def outgoing_of(
    ledger: Ledger, paths: Paths, release: Release, sha256: Sha256 = sha256_file
) -> Outgoing:
    """What publishers need to write a release.

    Raises: Refused: the files of its base are deleted. EditorError: its delta is not on disk.
    """
    bases.refuse_pruned(ledger, release.base)
    delta, candidate, cut = None, None, None
    if release.candidate_id is not None:
        from factd.editor.deltas.delta import load_delta  # loads torch

        candidate = paths.candidate(release.candidate_id)
        delta = load_delta(candidate / "delta")
        cut = partial(_measured_cut, candidate, delta)
    return Outgoing(
        number=release.number,
        base=paths.base(release.base),
        delta=delta,
        made=candidate,
        cut=cut,
        sha256=sha256,
    )


def _measured_cut(candidate: Path, delta: "Delta", rank: int, folder: Path) -> "Delta":
    """A candidate's delta, cut to a rank and accepted by the gates. Its proof goes to `folder`."""
    measured = truncated.accepted_truncation(candidate, delta, rank)
    proof.copy_proof(truncated.folder_of(candidate, rank), folder)
    return measured


def _fill(
    ledger: Ledger, paths: Paths, versions: Versions, release: Outgoing, folder: Path
) -> Mapping[str, Any]:
    """Let each publisher write its part. Returns what the manifest says about the parts.

    The checkpoint's entries stand at the top of the manifest. The entries of another publisher
    stand under its name.
    """
    about: dict[str, Any] = {}
    if getattr(versions.publishers[WHOLE].settings, "report", False):
        proof.copy_proof(proof.proof_folder(ledger, paths, release.number), folder)
    for name, publisher in versions.publishers.items():
        if name == WHOLE:
            about |= publisher.write(publisher.settings, release, folder)
        else:
            (folder / name).mkdir()
            about[name] = publisher.write(publisher.settings, release, folder / name)
    return about


def why_unwritable(ledger: Ledger, paths: Paths, release: Release) -> str:
    """Why a release's version cannot be written again.

    Empty if its base and its delta are on disk.
    """
    if release.base:
        with ledger.read() as session:
            base = queries.bases.base(session, release.base)
        if base.status not in bases.KEPT:
            return f"its base {base.number} is {base.status}"
    folder = paths.base(release.base)
    if not (folder / "config.json").is_file():
        return f"its base is not at {folder}; bring that folder back"
    if release.number and release.candidate_id is not None:
        delta = paths.candidate(release.candidate_id) / "delta"
        if not (delta / MANIFEST).is_file():
            return f"its delta was pruned; bring {delta} back from a backup"
    return ""
