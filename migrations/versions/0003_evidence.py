"""Probe sets, beliefs, the quarantine with its evidence, and audits of the live release."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _text(name: str, length: int | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _time(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _foreign(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other.split('.')[0]}")
    return sa.ForeignKeyConstraint([column], [other], name=name)


def upgrade() -> None:
    """Create four tables that no other table depends on."""
    op.create_table(
        "probe_sets",
        sa.Column("version", sa.Integer(), nullable=False),
        _text("digest", 64),
        _text("basis", 64),
        _json("counts"),
        _text("why"),
        _time("made_at"),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_probe_sets")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), nullable=False),
        _text("fact_id", 16),
        sa.Column("candidate_id", sa.Integer(), nullable=True),
        _text("reason"),
        _json("evidence"),
        _time("at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        _foreign("quarantine", "fact_id", "facts.id"),
        _foreign("quarantine", "candidate_id", "candidates.id"),
    )
    op.create_index("ix_quarantine_fact_id", "quarantine", ["fact_id"])
    op.create_table(
        "beliefs",
        _text("fact_id", 16),
        _text("language"),
        _text("base", 64),
        _text("answer"),
        sa.Column("certainty", sa.Double(), nullable=False),
        sa.Column("agreement", sa.Double(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        _json("others"),
        _time("at"),
        sa.PrimaryKeyConstraint("fact_id", "language", name=op.f("pk_beliefs")),
        _foreign("beliefs", "fact_id", "facts.id"),
    )
    op.create_table(
        "audits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        _text("outcome", 16),
        _text("action"),
        _json("reasons"),
        _json("report"),
        _time("at"),
        sa.CheckConstraint(
            "outcome IN ('passed', 'repaired', 'failed')", name=op.f("ck_audits_outcome")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audits")),
        _foreign("audits", "release", "releases.number"),
    )
    op.create_index("ix_audits_release", "audits", ["release"])


def downgrade() -> None:
    """Drop the tables. Measurements are lost; facts, verdicts and releases stay."""
    for name in ("audits", "beliefs", "quarantine", "probe_sets"):
        op.drop_table(name)
