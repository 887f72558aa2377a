"""`factd restore`: a complete factd in an empty folder, from a backup.

It has the same live release, facts and history. Everything is prepared and tried beside the target
under a temporary name, and renamed at the end: either there is a restored factd or there is none.
The versions' weights are written again from the base model and the deltas, and compared with the
old manifests.
"""

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factd.daemon.app import App, build
from factd.daemon.artefacts.versions import Versions
from factd.daemon.backup import archive
from factd.daemon.backup.create import CONFIG, FORMAT
from factd.daemon.config.tables import StoreTable
from factd.daemon.configuration import Config, load_config
from factd.daemon.errors import BadBackup, Refused
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.publishing import bases, version_files
from factd.store import queries
from factd.store.database import dump, migrate
from factd.store.model.releases import Release

DATABASES = (dump.SQLITE, dump.POSTGRESQL)


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The factd that was restored."""

    path: Path
    was: str  # the schema of the backup
    schema: str
    live: int | None  # release
    versions: tuple[int, ...]  # versions that were written again
    differ: tuple[int, ...]  # of these, the ones whose bytes differ from before
    without: str  # why no version was written. Empty: they were written
    left_out: tuple[str, ...]  # keys of the configuration whose files are not in the backup

    def as_json(self) -> dict[str, Any]:
        """The result for `--json`."""
        return {**vars(self), "path": str(self.path)}


def verify(path: Path) -> dict[str, Any]:
    """Check every file of a backup, and return its manifest. Raises: BadBackup."""
    manifest = archive.verify(path)
    if manifest.get("format") != FORMAT:
        raise BadBackup(
            f"{path} has the format {manifest.get('format')}, this factd reads {FORMAT}; use the factd that made it "
            f"({manifest.get('factd')})"
        )
    return manifest


def restore(path: Path, to: Path, *, database: str = "", versions: bool = True) -> Restored:
    """Restore a factd into the folder `to`.

    database: the URL of an empty PostgreSQL database, for a backup of PostgreSQL.
    Raises: BadBackup: the backup is damaged; nothing was written. Refused: `to` is in use, or
    something must be done first.
    """
    refuse_used(to)
    manifest = verify(path)
    refuse_newer(path, manifest)
    part = to.resolve().with_name(to.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    try:
        archive.extract(path, part)
        app = lay_out(part, manifest, database)
        restored = bring_up(app, part, manifest, versions=versions)
        for folder in ("database", "manifests", "config"):
            shutil.rmtree(part / folder, ignore_errors=True)
        if to.exists():
            to.rmdir()
        part.rename(to)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return replace(restored, path=to)


def refuse_used(to: Path) -> None:
    """Raises: Refused: the folder is not empty. It may hold a running factd."""
    if (to / "state" / "lock").exists() or (to / "factd.toml").exists():
        raise Refused(f"{to} holds a factd; stop it, and restore into another folder")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Refused(f"{to} is not empty; restore into another folder")


def refuse_newer(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raises: Refused: a later factd made the backup."""
    if not migrate.is_known_revision(str(manifest["schema"])):
        raise Refused(
            f"{path} has the schema {manifest['schema']}, which this factd does not know; use factd {manifest['factd']} or later"
        )


def lay_out(part: Path, manifest: Mapping[str, Any], database: str) -> App:
    """Move the files to their places, and fill the database. Raises: Refused, StoreError."""
    held = next(p for p in (part / "database").iterdir() if p.name in DATABASES)
    if held.name == dump.POSTGRESQL and not database:
        raise Refused("the backup is of PostgreSQL; name an empty database with --database")
    if (part / "published").exists():
        (part / "published").rename(part / "manifests")
    for path in (part / "config").iterdir():
        path.rename(part / path.name)
    file = part / Path(CONFIG).name
    text = relocated(file.read_text(encoding="utf-8"), str(manifest["model"]), database)
    file.write_text(text, encoding="utf-8")
    config = load_config(file)
    config = without_missing_key(config)
    if database:  # the file may name the URL by a secret that is not here yet
        config = config.model_copy(update={"store": StoreTable(url=database)})
    refuse_elsewhere(config, part, database)
    dump.load(held, config.database)
    return build(config)


def without_missing_key(config: Config) -> Config:
    """The configuration without a signing key that is missing: versions are then unsigned.

    Keys are in no backup, so the key may not be in its place yet.
    """
    file, publish = config.publish.signing_key_file, config.publish
    if file is None or file.is_file():
        return config
    return config.model_copy(
        update={"publish": publish.model_copy(update={"signing_key_file": None})}
    )


def relocated(text: str, model: str, database: str) -> str:
    """The configuration with state, releases and database in its own folder. The model stays."""
    data = tomllib.loads(text)
    new = {
        data.get("state_dir"): "state",
        data.get("publish", {}).get("path"): "published",
        data.get("store", {}).get("url"): database,
        data.get("model", {}).get("path"): model,
    }
    for old, value in new.items():
        for quote in ('"', "'"):
            text = text.replace(f"{quote}{old}{quote}", f"{quote}{value}{quote}") if old else text
    return text


def refuse_elsewhere(config: Config, part: Path, database: str) -> None:
    """Raises: Refused: an environment variable moves a path out of this folder."""
    own = database or f"sqlite:///{part / 'state' / dump.SQLITE}"
    places = (config.state_dir, config.publish.path, config.database)
    if places != (part / "state", part / "published", own):
        raise Refused(
            "the environment sends the restored configuration elsewhere; unset FACTD_STATE_DIR, "
            "FACTD_PUBLISH__PATH, FACTD_STORE__URL and FACTD_STORE__URL_FILE for the restore"
        )


def bring_up(app: App, part: Path, manifest: Mapping[str, Any], *, versions: bool) -> Restored:
    """Upgrade the schema, write the versions, and set the link to the current one."""
    url = app.config.database
    schema = migrate.upgrade(url)
    migrate.check(url)
    try:
        with app.ledger.begin() as session:
            live = queries.releases.live_release(session)
            releases = {r.number: r for r in queries.releases.list_releases(session)}
        without = why_without(app.paths, versions=versions)
        listed = sorted(int(path.stem) for path in (part / "manifests").glob("*.json"))
        written = [] if without else [releases[number] for number in listed if number in releases]
        if not without:
            bases.write_all(app.ledger, app.paths)
        write_versions(app.ledger, app.paths, app.versions, written, manifest["current"])
        numbers = tuple(release.number for release in written)
        before = {n: files_of(part / "manifests" / f"{n}.json") for n in numbers}
        differ = tuple(
            n for n in numbers if not before[n].items() <= published(app.versions, n).items()
        )
    finally:
        app.ledger.store.close()
    return Restored(
        path=part,
        was=str(manifest["schema"]),
        schema=schema,
        live=live.number if live else None,
        versions=numbers,
        differ=differ,
        without=without,
        left_out=tuple(manifest["left_out"]),
    )


def write_versions(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    releases: Sequence[Release],
    current: int | None,
) -> None:
    """Write the versions from the base model and the deltas, and set the link `current`."""
    for release in releases:
        of_base = replace(release, candidate_id=None)  # whatever the row of release 0 says
        version_files.write_version(ledger, paths, versions, release if release.number else of_base)
    if current in [release.number for release in releases] and current is not None:
        versions.switch(current)


def why_without(paths: Paths, *, versions: bool) -> str:
    """Why no version can be written now. Empty if they can."""
    if not versions:
        return "as asked"
    model = paths.original
    return "" if (model / "config.json").is_file() else f"the base model is not at {model}"


def published(versions: Versions, number: int) -> dict[str, str]:
    """The SHA-256 of each file of a version."""
    return files_of(versions.folder(number) / "manifest.json")


def files_of(manifest: Path) -> dict[str, str]:
    """The SHA-256 of each file that a manifest lists. An earlier factd listed fewer files."""
    return dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
