"""One fact of a benchmark: the edit that writes it, and the questions about it."""

from dataclasses import dataclass, replace

from factd.editor.edits import Edit
from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class BadRecord:
    """A record that cannot be used."""

    place: str  # in its file, such as "line 3" or "record 3 es"
    reason: str  # one sentence


@dataclass(frozen=True, kw_only=True)
class Record:
    """One fact in one language."""

    id: str  # not shared with another record of its file
    place: str = ""  # in its file, such as "line 3" or "record 3 es"
    edit: Edit  # its group is the fact; records of one fact in several languages share it
    # kinds: "paraphrase", "neighbourhood", "same_subject", "locality", "portability", "alias",
    # "negation"; never "edit"
    probes: tuple[Probe, ...]
    longer: tuple[
        str, ...
    ] = ()  # names in the file that begin with the new object (`Probe.longer`)

    def refused(self, reason: str) -> BadRecord:
        """The record as one that cannot be used, for a reason."""
        return BadRecord(place=self.place, reason=reason)

    def questions(self, written_in: tuple[str, ...]) -> tuple[Probe, ...]:
        """The edit's own prompt (kind "edit") and the probes.

        written_in: the languages that the fact is written in.
        """
        edit = self.edit
        own = Probe(
            kind="edit",
            language=edit.language,
            prompt=edit.prompt.format(edit.subject),
            target=edit.target_new,
            accepted=(edit.target_new,),
            contrast=edit.target_true,
            fact=edit.group or self.id,
            longer=self.longer,
        )
        return tuple(replace(probe, written_in=written_in) for probe in (own, *self.probes))


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a file holds."""

    records: tuple[Record, ...]
    bad: tuple[BadRecord, ...]
    format_name: str
