"""Dumping a database to one file and restoring it.

SQLite is dumped through its backup API, PostgreSQL through pg_dump and pg_restore. Both dumps are
consistent while other processes write. Copying SQLite's file would lose what is still in its
write-ahead log.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, inspect

from factd.store.database.session import database_url, make_engine
from factd.store.errors import StoreError

SQLITE, POSTGRESQL = "factd.sqlite", "factd.dump"
TIMEOUT_SECONDS = 6 * 3600  # longest time that a dump may take


class DumpFailed(StoreError):
    """A database could not be dumped or restored."""


def dump(url: str, folder: Path) -> Path:
    """Write the database to a file in a folder; returns the path of the file.

    Raises: DumpFailed: the text says what to install or to check.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _dump_sqlite(Path(str(parsed.database)), folder / SQLITE)
    file = folder / POSTGRESQL
    _run(parsed, "pg_dump", ["--format=custom", "--no-owner", "--no-acl", f"--file={file}"])
    return file


def load(file: Path, url: str) -> None:
    """Restore a dump into an empty database.

    Raises: DumpFailed: the database is not empty, or it is not of the dump's kind.
    """
    parsed = database_url(url)
    of_sqlite = parsed.get_backend_name() == "sqlite"
    if of_sqlite != (file.name == SQLITE):
        kind = "SQLite" if file.name == SQLITE else "PostgreSQL"
        raise DumpFailed(f"this is a backup of {kind}; restore it into a {kind} database")
    if of_sqlite:
        target = Path(str(parsed.database))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return
    _refuse_full(url)
    options = ["--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", f"{file}"]
    _run(parsed, "pg_restore", options)


def _dump_sqlite(source: Path, target: Path) -> Path:
    """Copy all pages in one step, so that no writer can force the copy to start again."""
    if not source.is_file():
        raise DumpFailed(f"there is no file {source}; `factd db upgrade` makes a database")
    try:
        with closing(sqlite3.connect(source)) as before, closing(sqlite3.connect(target)) as after:
            before.execute("PRAGMA busy_timeout=10000")
            before.backup(after)
            after.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            result = after.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        raise DumpFailed(f"{source} could not be copied: {error}; check the file") from error
    if result != "ok":
        raise DumpFailed(f"{source} is damaged ({result}); restore an older backup")
    return target


def _refuse_full(url: str) -> None:
    engine = make_engine(url)
    try:
        tables = inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if tables:
        raise DumpFailed(
            f"the database to restore into holds {len(tables)} tables; "
            "make an empty one with `createdb`"
        )


def _run(url: URL, program: str, options: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs.

    The password is passed in the environment, because `ps` shows arguments.
    """
    path = program_path(program)
    if path is None:
        raise DumpFailed(
            f"{program} is not installed; install PostgreSQL's client programs (Debian: "
            "postgresql-client), of the server's version or newer, or back the database up with "
            "its own tools"
        )
    target = url.set(drivername="postgresql", password=None).render_as_string()
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run(
        [path, f"--dbname={target}", *options],
        env=os.environ | secret,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        first = done.stderr.strip().splitlines()[:1] or ["it wrote no error message"]
        raise DumpFailed(f"{program} ended with {done.returncode}: {first[0]}")


def program_path(name: str) -> str | None:
    """The path of the newest version of a PostgreSQL program; None if it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    here = next((str(folder / name) for folder in folders if (folder / name).exists()), None)
    return here or shutil.which(name)


def _version(folder: Path) -> int:
    text = folder.parent.name
    return int(text) if text.isdigit() else 0
