"""Migrations from the program itself: the folder `migrations` is found as a package, also where factd is installed.

Alembic is imported only where something is migrated: every command looks at the revision, and most do nothing more.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

import factd.migrations
from factd.store.database.session import make_engine, reached
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
    """Bring the schema to a revision; the revision it has then."""
    from alembic import command

    command.upgrade(_config(url), revision)
    return current(url) or "base"


def downgrade(url: str, revision: str) -> None:
    """Bring the schema back to an older revision."""
    from alembic import command

    command.downgrade(_config(url), revision)


def head() -> str:
    """The newest revision of this program; the names of the files begin with theirs."""
    return max(_revisions())


def _revisions() -> set[str]:
    files = (Path(factd.migrations.__file__).parent / "versions").glob("[0-9]*_*.py")
    return {file.name.split("_")[0] for file in files}


def knows(revision: str) -> bool:
    """This program has a revision, or is newer."""
    return revision in _revisions()


def current(url: str) -> str | None:
    """The revision of a database; None where it has none. Raises: StoreError: it cannot be asked."""
    engine = make_engine(url)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def revision_of(engine: Engine) -> str | None:
    """The same of a database that is open already."""
    with reached(), engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return str(found) if found else None


def differences(url: str) -> list[object]:
    """What `alembic check` would find: tables, columns and constraints that differ between database and program."""
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
    """engine: of the database where it is open already. Raises: SchemaOutdated: it is not at this program's newest revision."""
    found, wanted = revision_of(engine) if engine else current(url), head()
    if found != wanted:
        raise SchemaOutdated(
            f"the database is at {found or 'nothing'}, this program needs {wanted}: `factd db upgrade`"
        )
