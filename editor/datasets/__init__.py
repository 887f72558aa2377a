"""Public benchmark data: files of records become edits and probes.

Each file of `editor/datasets/formats` reads one format. It turns one element of a file into a
record, and says in one sentence why it cannot. What a record means belongs here; asking a model
does not (editor/exams).
"""

from factd.editor.datasets.reading import read_records
from factd.editor.datasets.records import BadRecord, Record, Records

__all__ = ["BadRecord", "Record", "Records", "read_records"]
