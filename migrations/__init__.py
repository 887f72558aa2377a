"""Alembic migrations of the fact store. `factd db upgrade` runs them."""
