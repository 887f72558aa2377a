"""Migrations from the program itself: the folder `migrations` is found as a package, also where factd is installed."""

import io
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from store.errors import SchemaOutdated
from store.operations_schema import METADATA
from store.session import make_engine, reached

PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]


def _config(url: str) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the schema to a revision; the revision it has then."""
    command.upgrade(_config(url), revision)
    return current(url) or "base"


def downgrade(url: str, revision: str) -> None:
    """Bring the schema back to an older revision."""
    command.downgrade(_config(url), revision)


def head() -> str:
    """The newest revision of this program."""
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def knows(revision: str) -> bool:
    """This program has a revision, or is newer."""
    script = ScriptDirectory.from_config(_config(""))
    return any(found.revision == revision for found in script.walk_revisions())


def current(url: str) -> str | None:
    """The revision of a database; None where it has none. Raises: StoreError: it cannot be asked."""
    engine = make_engine(url)
    try:
        with reached(), engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def differences(url: str) -> list[object]:
    """What `alembic check` would find: tables, columns and constraints that differ between database and program."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "autogenerate_plugins": PLUGINS}
            )
            return list(compare_metadata(context, METADATA))
    finally:
        engine.dispose()


def check(url: str) -> None:
    """Raises: SchemaOutdated: the database is not at this program's newest revision."""
    found, wanted = current(url), head()
    if found != wanted:
        raise SchemaOutdated(
            f"the database is at {found or 'nothing'}, this program needs {wanted}: `factd db upgrade`"
        )
