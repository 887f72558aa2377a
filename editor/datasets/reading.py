"""Reading a file of records in a public format."""

from collections.abc import Sequence
from pathlib import Path

from factd.editor.datasets.records import Records


def read_records(path: Path, format_name: str = "", *, languages: Sequence[str] = ()) -> Records:
    """The records of a file. A bad one is listed with its reason, and the others are read.

    format_name: a file of `editor/datasets/formats`; "": found by looking at the file.
    languages: those to read; empty: all. A file of pairs gives one record for each language.

    Raises: BadEdit: the file cannot be read at all. BadSettings: no format has that name, or the
    file does not show which one it has.
    """
    raise NotImplementedError
