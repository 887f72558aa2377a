"""Migrations of the database schema, run from the program itself.

The folder `migrations` is found as a package, so this also works where factd is installed. Alembic
is imported only when something is migrated: every command checks the revision, and most commands do
nothing more.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

import factd.migrations
from factd.store.database.session import database_errors, make_engine
from factd.store.errors import SchemaOutdated
from factd.store.schema.operations import METADATA

if TYPE_CHECKING:
    from alembic.config import Config

PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]


def _config(url: str) -> "Config":
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(factd.migrations.__file__).parent))
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> str:
    """Upgrade the schema to a revision; returns the revision that the database then has."""
    from alembic import command

    command.upgrade(_config(url), revision)
    return current(url) or "base"


def downgrade(url: str, revision: str) -> None:
    """Downgrade the schema to an older revision."""
    from alembic import command

    command.downgrade(_config(url), revision)


def head() -> str:
    """The newest revision that this program knows."""
    return max(_revisions())


def _revisions() -> set[str]:
    """All revisions that this program knows; the name of each migration file begins with one."""
    files = (Path(factd.migrations.__file__).parent / "versions").glob("[0-9]*_*.py")
    return {file.name.split("_")[0] for file in files}


def is_known_revision(revision: str) -> bool:
    """Whether this program knows a revision: the program is as new as the revision, or newer."""
    return revision in _revisions()


def current(url: str) -> str | None:
    """The revision of a database; None if it has no tables of factd.

    Raises: StoreError: the database does not answer.
    """
    engine = make_engine(url)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def revision_of(engine: Engine) -> str | None:
    """The revision of an open database; None if it has no tables of factd.

    Raises: StoreError: the database does not answer.
    """
    with database_errors(), engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return str(revision) if revision else None


def differences(url: str) -> list[object]:
    """The differences that `alembic check` would report between the database and the program.

    They concern tables, columns, indexes and constraints. The list is empty if the schema is right.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "autogenerate_plugins": PLUGINS}
            )
            return list(compare_metadata(context, METADATA))
    finally:
        engine.dispose()


def check(url: str, engine: Engine | None = None) -> None:
    """Check that the database is at this program's newest revision.

    engine: the engine of the database, if it is open already.
    Raises: SchemaOutdated: it is at another revision.
    """
    revision, needed = revision_of(engine) if engine else current(url), head()
    if revision != needed:
        raise SchemaOutdated(
            f"the database schema is at {revision or 'nothing'}, this program needs {needed}: "
            "run `factd db upgrade`"
        )
