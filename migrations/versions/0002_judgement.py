"""Provenance of claims, verdicts, names of things, and the states of sources."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

STATUSES = (
    "known",
    "pending",
    "active",
    "future",
    "expired",
    "superseded",
    "conflicting",
    "withdrawn",
)
MORE = ("soaking", "unproven", "rejected", "notice")
COLUMNS = (
    "channel trust licence file line retrieved_at payload_hash withdrawn reference_count risk "
    "demand soak_until needs_sources hold asked change due_at turn"
)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, length: int | None = None, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), server_default=default, nullable=False)


def _number(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), server_default=default, nullable=False)


def _allow(facts: Any, statuses: tuple[str, ...]) -> None:
    """Replace the CHECK constraint of the statuses. SQLite's copy of the table has no old one."""
    name = op.f("ck_facts_status")
    if op.get_bind().dialect.name != "sqlite":
        facts.drop_constraint(name, type_="check")
    values = ", ".join(f"'{status}'" for status in statuses)
    facts.create_check_constraint(name, f"status IN ({values})")


def upgrade() -> None:
    """Add the tables and columns.

    Facts that operators withdrew get verdicts. Facts whose status time may change are marked as
    due, so that they are resolved again.
    """
    _new_tables()
    with op.batch_alter_table("facts") as facts:
        for column in (
            _text("channel", 64, "cli"),
            _number("trust", "50"),
            _text("licence", None, ""),
            _text("file", None, ""),
            _number("line", "0"),
            _time("retrieved_at", nullable=True),
            _text("payload_hash", 64, ""),
            sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False),
            sa.Column("reference_count", sa.Integer(), nullable=True),
            sa.Column("risk", sa.Double(), nullable=True),
            sa.Column("demand", sa.Double(), server_default="0", nullable=False),
            _time("soak_until", nullable=True),
            _number("needs_sources", "1"),
            _text("hold", None, ""),
            _text("asked", 16, ""),
            _text("change", 16, "none"),
            _time("due_at", nullable=True),
            sa.Column("turn", sa.Double(), server_default="0", nullable=False),
        ):
            facts.add_column(column)
        _allow(facts, STATUSES + MORE)
        facts.drop_index("ix_facts_status")
        facts.create_index("ix_facts_status", ["status", "turn", "id"])
        facts.create_index("ix_facts_channel", ["channel", "subject_id"])
        facts.create_index("ix_facts_due_at", ["due_at"])
        facts.create_index("ix_facts_relation", ["relation", "id"])
        facts.create_index("ix_facts_change", ["change", "id"])
    op.create_index("ix_bad_lines_file", "bad_lines", ["file", "number"])
    op.execute(
        "INSERT INTO verdicts (subject_id, relation, object_id, ruling, why, who, at) "
        "SELECT subject_id, relation, object_id, "
        "'withdrawn', MIN(reason), 'an operator', MAX(changed_at) "
        "FROM facts WHERE status = 'withdrawn' GROUP BY subject_id, relation, object_id"
    )
    op.execute(
        "UPDATE facts SET due_at = changed_at, retrieved_at = observed_at "
        "WHERE status = 'future' OR valid_to IS NOT NULL"
    )


def _new_tables() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        _text("source", 64),
        _text("key"),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        _time("received_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("source", "key", name=op.f("uq_deliveries_source_key")),
    )
    op.create_table(
        "entities",
        _text("id"),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("renamed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entities")),
    )
    op.create_index("ix_entities_renamed", "entities", ["renamed"])
    op.create_table(
        "pointers",
        _text("source", 64),
        _text("key"),
        _time("at"),
        sa.PrimaryKeyConstraint("source", "key", name=op.f("pk_pointers")),
    )
    op.create_table(
        "seen",
        _text("source", 64),
        _text("key"),
        _text("value"),
        _time("at"),
        sa.PrimaryKeyConstraint("source", "key", name=op.f("pk_seen")),
    )
    op.create_index("ix_seen_at", "seen", ["at"])
    op.create_table(
        "source_days",
        _text("source", 64),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "day", name=op.f("pk_source_days")),
    )
    op.create_table(
        "sources",
        _text("name", 64),
        sa.Column("cursor", sa.JSON(), nullable=False),
        _time("pulled_at", nullable=True),
        _time("succeeded_at", nullable=True),
        _time("not_before", nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        _text("error"),
        _text("frozen"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
    )
    op.create_table(
        "verdicts",
        _text("subject_id"),
        _text("relation"),
        _text("object_id"),
        _text("ruling", 16),
        _text("why"),
        _text("who"),
        _time("at"),
        sa.CheckConstraint(
            "ruling IN ('pinned', 'approved', 'withdrawn', 'rejected')",
            name=op.f("ck_verdicts_ruling"),
        ),
        sa.PrimaryKeyConstraint("subject_id", "relation", "object_id", name=op.f("pk_verdicts")),
    )


def downgrade() -> None:
    """Drop the tables and columns.

    Facts whose status the old schema does not know become withdrawn: no row is lost, and no
    edit writes them.
    """
    op.execute(
        "UPDATE facts SET status = 'withdrawn' "
        "WHERE withdrawn OR status IN ('soaking', 'unproven', 'rejected', 'notice')"
    )
    with op.batch_alter_table("facts") as facts:
        for name in ("relation", "due_at", "channel", "status", "change"):
            facts.drop_index(f"ix_facts_{name}")
        facts.create_index("ix_facts_status", ["status"])
        _allow(facts, STATUSES)
        for name in COLUMNS.split():
            facts.drop_column(name)
    op.drop_index("ix_bad_lines_file", "bad_lines")
    for name in (
        "verdicts",
        "sources",
        "source_days",
        "seen",
        "pointers",
        "entities",
        "deliveries",
    ):
        op.drop_table(name)
