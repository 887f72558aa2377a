"""Reading a file of records in a public format."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from factd.editor.datasets.drafts import Draft, Element, record_of
from factd.editor.datasets.elements import read_elements
from factd.editor.datasets.formats import format_names, load_format
from factd.editor.datasets.records import BadRecord, Record, Records
from factd.editor.errors import BadEdit, BadSettings
from factd.editor.scoring.judge import SortedNames, longer_names, normalised


def read_records(path: Path, format_name: str = "", *, languages: Sequence[str] = ()) -> Records:
    """The records of a file. A bad one is listed with its reason, and the others are read.

    format_name: a file of `editor/datasets/formats`; "": found by looking at the file.
    languages: those to read; empty: all. A file of pairs gives one record for each language.

    Raises: BadEdit: the file cannot be read at all. BadSettings: no format has that name, or the
    file does not show which one it has.
    """
    elements, bad = read_elements(path)
    name = format_name or find_format(path, elements)
    chosen = load_format(name)
    accepted = Accepted()
    for element in elements:
        if languages and element.language not in languages:
            continue
        try:
            accepted.add(element, chosen.draft(element))
        except BadEdit as error:
            bad.append(BadRecord(place=element.place, reason=str(error)))
    records = tuple(with_longer_names(accepted.records))
    return Records(records=records, bad=tuple(bad), format_name=name)


def find_format(path: Path, elements: Iterable[Element]) -> str:
    """The format that most elements of a file look like.

    Raises: BadSettings: there is none, or more than one.
    """
    formats = {name: load_format(name) for name in format_names()}
    counts = dict.fromkeys(formats, 0)
    for element in elements:
        for name, known in formats.items():
            counts[name] += known.fits(element.fields)
    most = max(counts.values())
    best = [name for name in formats if counts[name] == most]
    if not most or len(best) > 1:
        found = f"looks like {' and like '.join(best)}" if most else "looks like no known format"
        raise BadSettings(f"{path} {found}; choose one with --format: {', '.join(formats)}")
    return best[0]


def with_longer_names(records: Sequence[Record]) -> Iterator[Record]:
    """The records with the longer names that their answers must not be mistaken for.

    The names are the subjects and objects of all records and neighbours of a language.
    """
    names: dict[str, set[str]] = {}
    for record in records:
        edit = record.edit
        own = names.setdefault(edit.language, set())
        own |= {edit.subject, edit.target_new, edit.target_true or edit.target_new}
        own |= {probe.target for probe in record.probes if probe.kind == "neighbourhood"}
    known = {language: SortedNames(own) for language, own in names.items()}
    for record in records:
        there = known[record.edit.language]
        probes = (replace(p, longer=longer_names(p.accepted, there)) for p in record.probes)
        longer = longer_names((record.edit.target_new,), there)
        yield replace(record, probes=tuple(probes), longer=longer)


class Accepted:
    """Records that neither repeat nor contradict each other."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._places: dict[tuple[str, ...], tuple[str, str]] = {}  # fact -> place and target

    def add(self, element: Element, draft: Draft) -> None:
        """Add the record of a draft.

        Raises: BadEdit: it cannot be written, or repeats or contradicts an earlier record.
        """
        record = record_of(element, draft)
        edit = record.edit
        facts: list[tuple[str, ...]] = [(edit.language, "prompt", edit.prompt, edit.subject)]
        if draft.relation:
            facts.append((edit.language, "relation", draft.relation, edit.subject))
        for fact in facts:
            place, target = self._places.get(fact, ("", ""))
            if place and normalised(target) != normalised(edit.target_new):
                raise BadEdit(f"it contradicts {place}, which says {target!r}")
            if place and fact is facts[0]:
                raise BadEdit(f"it repeats {place}")
        for fact in facts:
            self._places.setdefault(fact, (element.place, edit.target_new))
        self.records.append(record)
