"""The database itself: engine and transactions, migrations, dumps, PostgreSQL's advisory locks.

What the rows mean belongs to `queries` and `operations`.
"""
