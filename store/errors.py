"""The errors that the store raises on purpose.

StoreError
├── BadRelation     a file of the relation catalogue is wrong (the text names the file)
├── SchemaOutdated  the schema is not this program's; run `factd db upgrade`
├── StaleState      another process changed the row first; read it again and decide anew (transient)
├── Overtaken       another process took over a lease or a task; this one must stop
├── BakedIntoBase   the fact is in the weights of the base model; no edit takes it out of them
├── Unstorable      the database cannot store the value, such as a text with a NUL character
├── IllegalMove     the table of legal moves has no such status change
└── NotFound        there is no such row
"""


class StoreError(Exception):
    """Base of the errors that the store raises on purpose.

    The text is one sentence for the operator.
    """

    transient = False  # True: the same call may succeed later


class BadRelation(StoreError):
    """A file of the relation catalogue is wrong."""


class SchemaOutdated(StoreError):
    """The database has another schema than this program."""


class StaleState(StoreError):
    """The row is no longer in the state that the caller read."""

    transient = True


class Overtaken(StoreError):
    """Another process took over a lease or a task; this process must change nothing more."""


class BakedIntoBase(StoreError):
    """The fact was baked into the base model and cannot be left out of its weights."""


class Unstorable(StoreError):
    """The database cannot store this value."""


class IllegalMove(StoreError):
    """The table of legal moves does not have this status change."""


class NotFound(StoreError):
    """There is no such row."""
