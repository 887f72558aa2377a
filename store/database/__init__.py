"""The database itself: engine, transactions, migrations, dumps, PostgreSQL's advisory locks.

The meaning of the rows belongs to `queries` and `operations`.
"""
