"""Bases that releases were baked into.

Each release gets the base that it was computed on, and each fact the base that holds it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create one table, and add a column to releases and one to facts.

    An index holds only the few facts that use the column.
    """
    op.create_table(
        "bases",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("parent_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('preparing', 'verified', 'active', 'retired', 'pruned', 'abandoned')",
            name=op.f("ck_bases_status"),
        ),
        sa.ForeignKeyConstraint(
            ["release"], ["releases.number"], name=op.f("fk_bases_release_releases")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_bases")),
    )
    op.add_column("releases", sa.Column("base", sa.Integer(), server_default="0", nullable=False))
    op.add_column("facts", sa.Column("baked_in", sa.Integer(), nullable=True))
    there = sa.text("baked_in IS NOT NULL")
    op.create_index(
        "ix_facts_baked_in",
        "facts",
        ["status", "id"],
        sqlite_where=there,
        postgresql_where=there,
    )


def downgrade() -> None:
    """Drop the table and the columns.

    Only for a database whose live release was computed on the original model: the information
    which facts were baked is lost.
    """
    op.drop_index("ix_facts_baked_in", "facts")
    op.drop_column("facts", "baked_in")
    op.drop_column("releases", "base")
    op.drop_table("bases")
