"""Databases for tests: copied SQLite files, or a real PostgreSQL that this run starts."""

from pathlib import Path
from typing import Any

import pytest

from support import postgres
from support.shared_artefacts import SharedArtefacts

SERVER: pytest.StashKey[Any] = pytest.StashKey()
KEPT: pytest.StashKey[SharedArtefacts] = pytest.StashKey()
CONFIGS: list[pytest.Config] = []


def postgresql(config: pytest.Config) -> str:
    """The URL of a fresh PostgreSQL database. The first call starts the server."""
    if config.stash[SERVER] is None:
        folder = postgres.binaries()
        if folder is None:
            pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
        config.stash[SERVER] = postgres.Server(folder)
    return str(config.stash[SERVER].new())


def fresh_database(backend: str, folder: Path) -> str:
    """The URL of a migrated, empty database."""
    if backend == "postgresql":
        return postgresql(CONFIGS[-1])
    return kept().migrated(folder / "factd.sqlite")


def kept() -> SharedArtefacts:
    """The artefacts that this run of the tests makes once."""
    return CONFIGS[-1].stash[KEPT]


def cycle_database() -> str:
    """The database URL for a whole cycle: PostgreSQL if the run asks for it, else "" for SQLite."""
    config = CONFIGS[-1]
    return postgresql(config) if config.getoption("--database") == "postgresql" else ""
