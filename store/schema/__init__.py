"""The tables of the database: columns, constraints and indexes.

A change here needs a migration in `migrations/versions`. Reading and writing rows belongs to
`queries` and `operations`.
"""
