"""The tables of the database: columns, constraints and indexes.

A change here needs a migration in `migrations/versions`. Queries belong to `queries`, `operations`
and `views`.
"""
