"""Servers, and the hand-overs of releases to them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

STATUSES = "'waiting', 'sending', 'done', 'failed', 'superseded'"
OPEN = sa.text("status IN ('waiting', 'sending')")


def upgrade() -> None:
    """Create two tables that no older table depends on."""
    op.create_table(
        "servers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("release", sa.Integer(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("loaded", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_servers")),
    )
    op.create_table(
        "handovers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("restored", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_handovers_status")),
        sa.ForeignKeyConstraint(
            ["release"], ["releases.number"], name=op.f("fk_handovers_release_releases")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_handovers")),
    )
    op.create_index("ix_handovers_server", "handovers", ["server", "id"])
    op.create_index(
        "uq_handovers_open",
        "handovers",
        ["server"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_index("uq_handovers_open", "handovers")
    op.drop_index("ix_handovers_server", "handovers")
    op.drop_table("handovers")
    op.drop_table("servers")
