"""What the store refuses, and why.

StoreError
├── BadRelation     a file of the relation catalogue is wrong (names the file)
├── SchemaOutdated  the database has another schema than this program; `factd db upgrade` mends it
├── StaleState      somebody else changed the row first; read it again and decide anew (transient)
├── Overtaken       another process took over a lease or a task; this one must stop
├── Baked           a fact is in the weights of the base model; no edit takes it out of them
├── Unstorable      the database takes no such value, such as a text with a NUL character
├── IllegalMove     the table of legal moves has no such move
└── NotFound        there is no such row
"""


class StoreError(Exception):
    """Base of all errors that the store raises on purpose; the text is one sentence for the operator."""

    transient = False  # the same call may succeed later


class BadRelation(StoreError):
    """A file of the relation catalogue is wrong."""


class SchemaOutdated(StoreError):
    """The database has another schema than this program."""


class StaleState(StoreError):
    """A row was not in the state that the caller saw."""

    transient = True


class Overtaken(StoreError):
    """Another process took over a lease or a task; this one changes nothing more."""


class Baked(StoreError):
    """A fact was baked into the base model, and cannot be left out of its weights."""


class Unstorable(StoreError):
    """The database takes no such value."""


class IllegalMove(StoreError):
    """A status change that the table of legal moves does not have."""


class NotFound(StoreError):
    """There is no such row."""
