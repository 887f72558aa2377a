"""The fact store: facts, who claimed them and when, releases and runs, in a SQLAlchemy database.

The store knows no tensors.
"""
