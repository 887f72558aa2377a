"""Running factd: leases, tasks of workers, approvals, notices and accounts; runs get an epoch."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


FOLDED = sa.String().with_variant(sa.String(collation="C"), "postgresql")
LABELS = 5000  # entities whose labels are read in one step


def note_labels(connection: sa.Connection) -> None:
    """Add the labels that things have already to the search index."""
    names = sa.table("names", sa.column("name"), sa.column("entity_id"))
    entities = sa.table("entities", sa.column("id"), sa.column("labels", sa.JSON))
    last = ""
    while True:
        after = sa.select(entities).where(entities.c.id > last).order_by(entities.c.id)
        rows = connection.execute(after.limit(LABELS)).all()
        found = {
            (unicodedata.normalize("NFKC", label).casefold().strip()[:200], row.id)
            for row in rows
            for labels in row.labels.values()
            for label in labels
        }
        if found:
            new = [{"name": name, "entity_id": id_} for name, id_ in sorted(found)]
            connection.execute(sa.insert(names), new)
        if not rows:
            return
        last = rows[-1].id


def upgrade() -> None:
    """Create the tables, add columns to three others, and fill the search index."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("role IN ('view', 'operate')", name=op.f("ck_accounts_role")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "approvals",
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("consent", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("consent IN ('approved', 'refused')", name=op.f("ck_approvals_consent")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_approvals")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_index("ix_notices_key", "notices", ["key", "over_at"])
    still = sa.text("over_at IS NULL")
    op.create_index(
        "uq_notices_open",
        "notices",
        ["key"],
        unique=True,
        sqlite_where=still,
        postgresql_where=still,
    )

    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("in_hand", sa.JSON(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_tasks_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_status", "tasks", ["status", "id"])

    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("role IN ('view', 'operate')", name=op.f("ck_tokens_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("rss_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "deaths",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("in_hand", sa.JSON(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_deaths_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deaths")),
    )
    op.create_index("ix_deaths_task_id", "deaths", ["task_id"])

    op.create_table(
        "dispatches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("times", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "status IN ('waiting', 'sent', 'failed')", name=op.f("ck_dispatches_status")
        ),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.id"], name=op.f("fk_dispatches_notice_id_notices")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatches")),
        sa.UniqueConstraint("notice_id", "channel", name=op.f("uq_dispatches_notice_id_channel")),
    )
    op.create_index("ix_dispatches_status", "dispatches", ["status", "id"])

    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.name"], name=op.f("fk_sessions_account_accounts")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])

    op.create_index("ix_facts_tally", "facts", ["status"])

    op.create_index("ix_candidates_status", "candidates", ["status"])

    op.create_index("ix_releases_status", "releases", ["status"])

    # not in a batch: a batch would copy the table, and releases refer to it
    narrowed: sa.Column[bool] = sa.Column(
        "narrowed", sa.Boolean(), server_default=sa.false(), nullable=False
    )
    op.add_column("candidates", narrowed)
    op.execute("UPDATE candidates SET narrowed = (status = 'rejected')")
    for table in ("candidates", "releases"):
        op.add_column(
            table, sa.Column("fact_count", sa.Integer(), server_default="0", nullable=False)
        )
        op.execute(f"UPDATE {table} SET fact_count = json_array_length(fact_ids)")

    op.create_table(
        "names",
        sa.Column("name", FOLDED, nullable=False),
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", "entity_id", name=op.f("pk_names")),
        sqlite_with_rowid=False,
    )
    note_labels(op.get_bind())

    with op.batch_alter_table("runs") as batch_op:
        batch_op.add_column(sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("attempt", sa.Integer(), server_default="1", nullable=False))
        batch_op.create_index("ix_runs_status", ["status"])


def downgrade() -> None:
    """Drop the tables and columns. Tasks and notices are lost; facts and releases stay."""
    op.drop_column("candidates", "narrowed")  # not in a batch: releases refer to the table
    with op.batch_alter_table("runs") as batch_op:
        batch_op.drop_index("ix_runs_status")
        batch_op.drop_column("attempt")
        batch_op.drop_column("epoch")

    op.drop_index("ix_facts_tally", "facts")

    op.drop_table("names")
    for table in ("candidates", "releases"):
        op.drop_column(table, "fact_count")  # not in a batch: other tables refer to it

    op.drop_index("ix_releases_status", "releases")

    op.drop_index("ix_candidates_status", "candidates")

    op.drop_index("ix_sessions_account", "sessions")

    op.drop_table("sessions")
    op.drop_index("ix_dispatches_status", "dispatches")

    op.drop_table("dispatches")
    op.drop_index("ix_deaths_task_id", "deaths")

    op.drop_table("deaths")
    op.drop_table("workers")
    op.drop_table("tokens")
    op.drop_index("ix_tasks_status", "tasks")

    op.drop_table("tasks")
    op.drop_index("uq_notices_open", "notices")
    op.drop_index("ix_notices_key", "notices")

    op.drop_table("notices")
    op.drop_table("leases")
    op.drop_table("approvals")
    op.drop_table("accounts")
