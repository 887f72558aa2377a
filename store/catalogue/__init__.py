"""The relation catalogue: how a fact is worded in each language, and a linter for the wordings.

Each relation is one TOML file in `relations`. Nothing here reads the database.
"""
