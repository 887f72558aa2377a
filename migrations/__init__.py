"""Alembic migrations of the fact store; run by `factd db upgrade`."""
