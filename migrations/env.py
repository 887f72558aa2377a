"""Alembic's entry point: one online run on the same kind of engine that the store uses."""

from alembic import context

from factd.store.database.migrate import PLUGINS
from factd.store.database.session import make_engine
from factd.store.schema.operations import METADATA

url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
if not url:
    raise SystemExit(
        "give the database: alembic -x url=sqlite:////path/factd.sqlite …, or use `factd db`"
    )

engine = make_engine(url)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        render_as_batch=True,
        compare_type=True,
        autogenerate_plugins=PLUGINS,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()
