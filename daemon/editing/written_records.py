"""Which records of a file `factd apply` writes, which it only asks, and why it skips the others.

A record that is bad, or that the model answers already, is skipped with a sentence. It never stops
the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.editor.errors import BadEdit

if TYPE_CHECKING:
    from factd.editor.datasets import BadRecord, Record, Records
    from factd.editor.edits import Edit
    from factd.editor.models.model import EditableModel
    from factd.editor.scoring.score import Probe

FACTS_AT_ONCE = 50  # asked before the next ones are looked at
UNCHANGED = ("neighbourhood", "same_subject", "locality")  # kinds whose answers must not change


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What becomes of the records of a file."""

    format_name: str
    written: "tuple[Record, ...]"
    asked: "tuple[Record, ...]"  # of languages that are not written
    skipped: "tuple[BadRecord, ...]"

    def edits(self, *, takes_all: bool) -> "list[Edit]":
        """The edits that the method gets.

        takes_all: MEMAT takes those of other languages too: its heads are trained on them.
        """
        records = (*self.written, *self.asked) if takes_all else self.written
        return [record.edit for record in records]

    def without(self, group: str, reason: str) -> "Selection":
        """The same without the records of a group, which are skipped for a reason."""
        left = [r for r in self.written if r.edit.group != group]
        out = [r for r in self.written if r.edit.group == group]
        return replace(
            self,
            written=tuple(left),
            asked=tuple(r for r in self.asked if r.edit.group != group),
            skipped=(*self.skipped, *(r.refused(reason) for r in out)),
        )

    def probes(self, languages: Sequence[str]) -> "tuple[Probe, ...]":
        """The questions of all records that are written or asked.

        A neighbour that another record edits is left out: its answer changes on purpose.
        """
        records = (*self.written, *self.asked)
        written_in = tuple(languages) or tuple(sorted({r.edit.language for r in self.written}))
        probes = tuple(probe for record in records for probe in record.questions(written_in))
        edited = {p.prompt for p in probes if p.kind in ("edit", "paraphrase")}
        return tuple(p for p in probes if p.kind not in UNCHANGED or p.prompt not in edited)


def read_file(path: Path, format_name: str) -> "Records":
    """The records of a file. format_name: "": found by looking at the file.

    Raises: BadEdit, BadSettings: the file cannot be read. Refused: not one record is good.
    """
    from factd.editor.datasets import read_records  # needs torch

    read = read_records(path, format_name)
    if not read.records:
        raise Refused(_nothing_left(read.bad))
    return read


def select_records(
    model: "EditableModel",
    read: "Records",
    *,
    languages: Sequence[str],
    limit: int | None,
    progress: Progress,
) -> Selection:
    """The records to write and to ask, in the order of the file.

    languages: to write; empty: all. limit: of facts to write; the model is asked about further
    records until as many can be written.

    Raises: Refused: no record is left.
    """
    wanted = [r for r in read.records if not languages or r.edit.language in languages]
    others = [r for r in read.records if languages and r.edit.language not in languages]
    if not wanted:
        held = ", ".join(sorted({r.edit.language for r in read.records}))
        raise Refused(f"no edit is in {', '.join(languages)}; the file has {held}")
    written, skipped = _sorted_out(model, wanted, limit, progress)
    selection = Selection(
        format_name=read.format_name,
        written=tuple(written),
        asked=_same_facts(others, written),
        skipped=(*read.bad, *skipped),
    )
    if not written:
        raise Refused(_nothing_left(selection.skipped))
    return selection


def _sorted_out(
    model: "EditableModel", records: "Sequence[Record]", limit: int | None, progress: Progress
) -> "tuple[list[Record], list[BadRecord]]":
    """The records to write, and those that cannot or need not be written."""
    facts: dict[str, list[Record]] = {}
    for record in records:
        facts.setdefault(record.edit.group or record.id, []).append(record)
    names, wanted = list(facts), len(facts) if limit is None else limit
    written: list[Record] = []
    skipped: list[BadRecord] = []
    found = at = 0
    while found < wanted and at < len(names):
        chosen = names[at : at + min(FACTS_AT_ONCE, wanted - found)]
        at += len(chosen)
        reasons = dict(_reasons(model, [record for name in chosen for record in facts[name]]))
        for name in chosen:
            left = [record for record in facts[name] if record.id not in reasons]
            found += bool(left)
            written += left
        skipped += reasons.values()
        progress("asking what the model says already", at, len(names))
    return written, skipped


def _reasons(
    model: "EditableModel", records: "Sequence[Record]"
) -> "Iterator[tuple[str, BadRecord]]":
    """(id of a record, why it is not written), for each record that is not written."""
    from factd.editor.models.tokens import row  # needs torch
    from factd.editor.scoring.judge import is_right
    from factd.editor.scoring.score import greedy_answers

    readable = []
    for record in records:
        edit = record.edit
        try:
            row(model.tokenizer, edit.prompt, edit.subject, edit.target_new)
        except BadEdit as error:
            yield record.id, record.refused(str(error))
        else:
            readable.append(record)
    prompts = [r.edit.prompt.format(r.edit.subject) for r in readable]
    for record, answer in zip(readable, greedy_answers(model, prompts), strict=True):
        if is_right(answer, (record.edit.target_new,), longer=record.longer):
            reason = f"the model says {record.edit.target_new!r} already"
            yield record.id, record.refused(reason)


def _same_facts(records: "Sequence[Record]", written: "Sequence[Record]") -> "tuple[Record, ...]":
    """The records that state a written fact, or that belong to no other record."""
    facts = {record.edit.group for record in written}
    return tuple(r for r in records if not r.edit.group or r.edit.group in facts)


def _nothing_left(skipped: "Sequence[BadRecord]") -> str:
    """Why no record of a file is written. skipped: at least one record."""
    first = skipped[0]
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return f"nothing is left to write: {first.place}: {first.reason}{more}"
