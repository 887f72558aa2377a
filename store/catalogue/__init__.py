"""The relation catalogue: how a fact is said in each language, and a linter for the wordings.

One TOML file for each relation lies in `relations`. Nothing here reads the database.
"""
