"""Versions as servers see them: names, paths, expected answers, and which are still needed."""

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.artefacts import proof
from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import HandoverFailed, PublishFailed
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.rollout.handover import Target
from factd.daemon.servers import Version, seen_from
from factd.store import operations
from factd.store.errors import NotFound

if TYPE_CHECKING:
    from factd.daemon.plugins import ConfiguredServer


def served_named(fleet: Fleet, name: str) -> "ConfiguredServer":
    """A configured server. Raises: NotFound: there is no enabled server of this name."""
    if name not in fleet.servers:
        known = ", ".join(fleet.servers) or "none"
        raise NotFound(f"no server {name!r}; the configuration has: {known}")
    return fleet.servers[name]


def name_of(versions: Versions, number: int) -> str:
    """The name of a version with its present content. Empty: it is not on disk."""
    if not versions.has(number):
        return ""
    return Version(number=number, folder="", adapter="", digest=digest_of(versions, number)).name


def digest_of(versions: Versions, number: int) -> str:
    """SHA-256 of a version's manifest, hexadecimal."""
    manifest = versions.folder(number) / "manifest.json"
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def version_of(versions: Versions, served: "ConfiguredServer", number: int) -> Version:
    """A version as a server sees it. Raises: HandoverFailed: it is not on disk."""
    folder, published = versions.folder(number), versions.table.path
    if not versions.has(number):
        raise HandoverFailed(
            f"version {number} is not on disk; `factd releases write {number}` writes it again"
        )
    adapter = folder / "adapter"
    has_adapter = (adapter / "adapter_config.json").is_file()
    where = partial(_as_seen, served, published)
    return Version(
        number=number,
        folder=where(folder),
        adapter=where(adapter) if has_adapter else "",
        digest=digest_of(versions, number),
    )


def _as_seen(served: "ConfiguredServer", published: Path, path: Path) -> str:
    return seen_from(served.settings, path.resolve(), published.resolve())


def target_of(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    served: "ConfiguredServer",
    number: int,
    other: int | None,
) -> Target:
    """A version and the answers that are expected of a server that serves it.

    other: a release whose proof may hold these answers. Raises: HandoverFailed.
    """
    version, folder = version_of(versions, served, number), versions.folder(number)
    try:
        of_adapter = proof.read(folder / "adapter") if served.settings.takes_adapters else None
        own = of_adapter or proof.proof_of(
            ledger, paths, versions, number
        )  # a truncated adapter answers otherwise
        beside = proof.proof_of(ledger, paths, versions, other) if other is not None else None
    except PublishFailed as error:
        raise HandoverFailed(str(error)) from error
    return Target(version=version, expected=proof.expected_answers(number, own, beside))


def held_versions(ledger: Ledger, fleet: Fleet) -> frozenset[int]:
    """Releases that a server serves, holds, gets, or goes back to. Their versions stay on disk."""
    held: set[int] = set()
    with ledger.read() as session:
        states = operations.handovers.server_states(session)
        for state in (one for name, one in states.items() if name in fleet.servers):
            held |= {state.release} if state.release is not None else set()
            held |= {number for name in state.loaded if (number := number_of(name)) is not None}
            before = operations.handovers.last_done(session, state.name)
            held |= {before.release} if before else set()
        open_ = operations.handovers.list_open(session)
        held |= {one.release for one in open_ if one.server in fleet.servers}
    return frozenset(held)


def number_of(name: str) -> int | None:
    """The release in a version's name. None: factd did not make this name."""
    parts = name.split("-")
    return int(parts[1]) if len(parts) == 3 and parts[0] == "factd" and parts[1].isdigit() else None
