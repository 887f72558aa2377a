"""`factd restore`: a whole factd in an empty folder, out of a backup, with the same live release, facts and history.

Everything is laid out and tried beside the target, under a temporary name, and renamed at the end: there is a restored
factd or there is none. The versions' weights are written again from the base model and the deltas, and compared with what
the old manifests tell.
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
from factd.daemon.config.load import Config, load_config
from factd.daemon.config.tables import StoreTable
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
    """What stands now."""

    path: Path
    was: str  # the schema in the backup
    schema: str
    live: int | None  # release
    versions: tuple[int, ...]  # that were written again
    differ: tuple[int, ...]  # of them, those that are not the bytes they were
    without: str  # why no version was written; empty: they were
    left_out: tuple[str, ...]  # keys of the configuration whose files were not in the backup

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "path": str(self.path)}


def verify(path: Path) -> dict[str, Any]:
    """A backup's manifest, after every file was compared with it. Raises: BadBackup."""
    manifest = archive.verify(path)
    if manifest.get("format") != FORMAT:
        raise BadBackup(
            f"{path} has the format {manifest.get('format')}, this factd reads {FORMAT}; use the factd that made it "
            f"({manifest.get('factd')})"
        )
    return manifest


def restore(path: Path, to: Path, *, database: str = "", versions: bool = True) -> Restored:
    """A factd in the folder `to`. database: the URL of an empty PostgreSQL database, for a backup of one.

    Raises: BadBackup: it is damaged, and nothing was written. Refused: `to` is in use, or what to do first.
    """
    refuse_used(to)
    manifest = verify(path)
    refuse_newer(path, manifest)
    part = to.resolve().with_name(to.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    try:
        archive.extract(path, part)
        app = laid_out(part, manifest, database)
        found = brought_up(app, part, manifest, versions=versions)
        for folder in ("database", "manifests", "config"):
            shutil.rmtree(part / folder, ignore_errors=True)
        if to.exists():
            to.rmdir()
        part.rename(to)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return replace(found, path=to)


def refuse_used(to: Path) -> None:
    """Raises: Refused: the folder holds something, perhaps a daemon's state."""
    if (to / "state" / "lock").exists() or (to / "factd.toml").exists():
        raise Refused(f"{to} holds a factd; stop it, and restore into a folder of its own")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Refused(f"{to} is not empty; restore into a folder of its own")


def refuse_newer(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raises: Refused: a later program made it."""
    if not migrate.knows(str(manifest["schema"])):
        raise Refused(
            f"{path} has the schema {manifest['schema']}, which this factd does not know; use factd {manifest['factd']} or later"
        )


def laid_out(part: Path, manifest: Mapping[str, Any], database: str) -> App:
    """The files where a factd of this folder has them, its database filled. Raises: Refused, StoreError."""
    held = next(p for p in (part / "database").iterdir() if p.name in DATABASES)
    if held.name == dump.POSTGRESQL and not database:
        raise Refused("the backup is of PostgreSQL; name an empty database with --database")
    if (part / "published").exists():
        (part / "published").rename(part / "manifests")
    for path in (part / "config").iterdir():
        path.rename(part / path.name)
    file = part / Path(CONFIG).name
    text = moved(file.read_text(encoding="utf-8"), str(manifest["model"]), database)
    file.write_text(text, encoding="utf-8")
    config = load_config(file)
    config = signing_where_it_can(config)
    if database:  # the file may name it by a secret that is not here yet
        config = config.model_copy(update={"store": StoreTable(url=database)})
    refuse_elsewhere(config, part, database)
    dump.load(held, config.database)
    return build(config)


def signing_where_it_can(config: Config) -> Config:
    """A key is in no backup: where it is not at its place (yet), versions are written unsigned."""
    file, publish = config.publish.signing_key_file, config.publish
    if file is None or file.is_file():
        return config
    return config.model_copy(
        update={"publish": publish.model_copy(update={"signing_key_file": None})}
    )


def moved(text: str, model: str, database: str) -> str:
    """A configuration whose state, releases and database are in its own folder, and whose model is where it was."""
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
    """Raises: Refused: an environment variable moves what was to be in this folder."""
    own = database or f"sqlite:///{part / 'state' / dump.SQLITE}"
    found = (config.state_dir, config.publish.path, config.database)
    if found != (part / "state", part / "published", own):
        raise Refused(
            "the environment leads the restored configuration elsewhere; unset FACTD_STATE_DIR, FACTD_PUBLISH__PATH, "
            "FACTD_STORE__URL and FACTD_STORE__URL_FILE for this"
        )


def brought_up(app: App, part: Path, manifest: Mapping[str, Any], *, versions: bool) -> Restored:
    """The schema of this program, the versions' files, and the link to the current one."""
    url = app.config.database
    schema = migrate.upgrade(url)
    migrate.check(url)
    try:
        with app.ledger.begin() as session:
            live = queries.releases.live_release(session)
            releases = {r.number: r for r in queries.releases.list_releases(session)}
        without = why_without(app.paths, versions=versions)
        told = sorted(int(path.stem) for path in (part / "manifests").glob("*.json"))
        written = [] if without else [releases[number] for number in told if number in releases]
        if not without:
            bases.write_all(app.ledger, app.paths)
        brought_out(app.ledger, app.paths, app.versions, written, manifest["current"])
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


def brought_out(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    releases: Sequence[Release],
    current: int | None,
) -> None:
    """Their files, written from the base model and the deltas, and the link to one of them."""
    for release in releases:
        of_base = replace(release, candidate_id=None)  # whatever the row of release 0 says
        version_files.write_version(ledger, paths, versions, release if release.number else of_base)
    if current in [release.number for release in releases] and current is not None:
        versions.switch(current)


def why_without(paths: Paths, *, versions: bool) -> str:
    """Why no version can be written now; empty where they can."""
    if not versions:
        return "as asked"
    model = paths.original
    return "" if (model / "config.json").is_file() else f"the base model is not at {model}"


def published(versions: Versions, number: int) -> dict[str, str]:
    """SHA-256 of a version's files."""
    return files_of(versions.folder(number) / "manifest.json")


def files_of(manifest: Path) -> dict[str, str]:
    """SHA-256 of the files that a manifest tells; an earlier factd told fewer of them."""
    return dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
