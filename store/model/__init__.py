"""What the store knows as pure values: facts, names, releases, bases, evidence, and the rules between them.

Frozen dataclasses, enums and pure functions. Nothing here reads a database or a file.
"""
