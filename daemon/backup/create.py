"""`factd backup`: everything that cannot be made again, in one folder or tar file.

The daemon may run.

A backup holds the database; the configuration file, its catalogues and texts; the delta and report
of every release; the probe sets; head corrections; settings that were found for the model; and the
manifests of the published versions, by which a restore proves that it writes the same bytes. It
does not hold the base model, the weights
of versions (base and delta make them), secrets (files that the configuration names), the drop
folder, and, without `--with-workspace`, cached values and statistics, which are computed again when
they are needed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from factd.daemon.app import App
from factd.daemon.artefacts.versions import Versions
from factd.daemon.backup.archive import write_archive
from factd.daemon.config.secrets import without_secrets
from factd.daemon.configuration import Config
from factd.daemon.paths import Paths
from factd.store import queries
from factd.store.database import migrate
from factd.store.database.dump import dump
from factd.store.model.releases import Release

FORMAT = 1
CONFIG = "config/factd.toml"


@dataclass(frozen=True, kw_only=True)
class Backup:
    """The backup that was written."""

    path: Path
    files: int
    bytes: int
    releases: int
    masked: bool  # the configuration holds passwords, which the copy does not

    def as_json(self) -> dict[str, Any]:
        """The result for `--json`."""
        return {**vars(self), "path": str(self.path)}


def back_up(app: App, config_path: Path, target: Path, *, workspace: bool = False) -> Backup:
    """Write a backup.

    The database is dumped first, so that every file that it names exists by then.

    Raises: Refused: `target` exists. StoreError: the database cannot be dumped.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="factd-backup-", dir=target.parent) as staged:
        database = dump(app.config.database, Path(staged))
        with app.ledger.read() as session:
            releases = queries.releases.list_releases(session)
        text = config_path.read_text(encoding="utf-8")
        masked = Path(staged) / "factd.toml"
        masked.write_text(without_secrets(text), encoding="utf-8")
        files = {
            f"database/{database.name}": database,
            CONFIG: masked,
            **config_files(app.config),
            **state_files(app.paths, releases, workspace=workspace),
            **version_manifests(app.versions, releases),
        }
        write_archive(target, files, about(app, workspace=workspace))
        size = sum(path.stat().st_size for path in files.values() if path.exists())
    return Backup(
        path=target,
        files=len(files),
        bytes=size,
        releases=len(releases),
        masked=without_secrets(text) != text,
    )


def about(app: App, *, workspace: bool) -> dict[str, Any]:
    """The manifest's entries besides the files."""
    return {
        "format": FORMAT,
        "factd": version("factd"),
        "schema": migrate.current(app.config.database),
        "made_at": app.ledger.now().isoformat(),
        "current": app.versions.current(),
        "workspace": workspace,
        "model": str(app.paths.original.resolve()),
        "left_out": left_out(app.config.model_dump(mode="json")),
    }


def left_out(table: Mapping[str, Any], within: str = "") -> list[str]:
    """Keys of the configuration whose files the backup leaves out, because they may be secrets."""
    keys = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            keys += left_out(value, f"{within}{key}.")
        elif key.endswith("_file") and value:
            keys.append(f"{within}{key}")
    return keys


def config_files(config: Config) -> dict[str, Path]:
    """Catalogues and held-out texts that are below the configuration's folder."""
    root = config.root
    named = [*config.write.catalogue, *config.checks.texts.values()]
    files: dict[str, Path] = {}
    for path in named:
        if path.is_relative_to(root):
            name = path.relative_to(root).as_posix()
            files |= within(f"config/{name}", path)
    return files


def state_files(paths: Paths, releases: list[Release], *, workspace: bool) -> dict[str, Path]:
    """Deltas and reports of releases, probe sets, head corrections and pinned settings.

    workspace: the whole workspace.
    """
    state, files = paths.state, dict[str, Path]()
    made = {release.candidate_id for release in releases if release.candidate_id is not None}
    for folder in (f"candidates/{id_}" for id_ in sorted(made)):
        files |= within(f"state/{folder}", state / folder)
    kept = ("workspace",) if workspace else ("workspace/heads", "workspace/tunings")
    for folder in ("probes", *kept):
        files |= within(f"state/{folder}", state / folder)
    return files


def version_manifests(versions: Versions, releases: list[Release]) -> dict[str, Path]:
    """The manifest of each version on disk."""
    numbers = [release.number for release in releases if versions.has(release.number)]
    return {
        f"published/{number}.json": versions.folder(number) / "manifest.json" for number in numbers
    }


def within(name: str, path: Path) -> Mapping[str, Path]:
    """A file, or every file of a folder, by names below `name`. Half-written files are left out."""
    if path.is_file():
        return {name: path}
    return {f"{name}/{p.relative_to(path).as_posix()}": p for p in _plain_files(path)}


def _plain_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.endswith((".tmp", ".lock")) for part in parts):
            yield path
