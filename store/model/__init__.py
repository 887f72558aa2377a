"""Facts, names, releases, bases, evidence and the rules between them, as pure values.

The room holds frozen dataclasses, enums and pure functions. Nothing here reads a database or a
file.
"""
