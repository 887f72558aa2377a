"""What a format says about one fact, before it is checked; and the checks that make it a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factd.editor.datasets.prompts import answerable, split_at_subject
from factd.editor.datasets.records import Record
from factd.editor.edits import Edit
from factd.editor.errors import BadEdit
from factd.editor.scoring.judge import normalised
from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of a file: one fact in one language, as JSON values."""

    place: str  # where it stands, such as "line 3" or "record 3 es"
    id: str  # not shared with another element
    fact: str  # the same in each language
    language: str  # BCP 47
    fields: Mapping[str, Any]

    def text(self, *path: str) -> str:
        """The text at a path of fields, such as ("target_new", "str").

        Raises: BadEdit: the path leads to no text, or to an empty one.
        """
        value = self.optional(*path)
        if not value:
            raise BadEdit(f"{'.'.join(path)} is missing or empty")
        return value

    def optional(self, *path: str) -> str:
        """The text at a path of fields without white space around it; empty if there is none.

        Raises: BadEdit: the path leads to something that is no text.
        """
        value: Any = self.fields
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return ""
        if not isinstance(value, str):
            raise BadEdit(f"{'.'.join(path)} must be a text, not {value!r:.60}")
        return value.strip()

    def texts(self, *path: str) -> tuple[str, ...]:
        """The texts of a list at a path of fields, of lists in it too; a text alone is a list."""
        value: Any = self.fields
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return flat_texts(value)


def flat_texts(value: Any) -> tuple[str, ...]:
    """The texts in a value and in its lists at any depth.

    Repeats are left out, and what has no letter or digit, such as "---" for no answer.
    """
    if isinstance(value, str):
        return (value.strip(),) if any(map(str.isalnum, value)) else ()
    if not isinstance(value, Sequence):
        return ()
    return tuple(dict.fromkeys(text for item in value for text in flat_texts(item)))


@dataclass(frozen=True, kw_only=True)
class DraftQuestion:
    """One question of a draft."""

    kind: str  # as in `Record.probes`
    text: str
    answers: tuple[str, ...]  # labels that count as right; the first one is scored
    contrast: str = ""
    is_question: bool = False  # ask it as a question although it has no question mark


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One fact in one language, as a format says it."""

    subject: str
    prompt: str  # with "{}" where the subject goes, or with the subject itself
    target_new: str
    target_true: str = ""
    relation: str = ""
    group: str | None = None  # None: the fact of the element
    questions: tuple[DraftQuestion, ...] = ()


def record_of(element: Element, draft: Draft) -> Record:
    """The record of a draft. Questions without a text or an answer are left out.

    Raises: BadEdit: the edit cannot be written as the file has it.
    """
    prompt, subject = draft.prompt, draft.subject
    if "{}" not in prompt:
        prompt, subject = split_at_subject(prompt, subject)
    if draft.target_true and normalised(draft.target_new) == normalised(draft.target_true):
        raise BadEdit(
            f"the new object {draft.target_new!r} is the old one; there is nothing to write"
        )
    edit = Edit(
        prompt=answerable(prompt, element.language),
        subject=subject,
        target_new=draft.target_new,
        target_true=draft.target_true or None,
        language=element.language,
        group=element.fact if draft.group is None else draft.group,
    )
    probes = _probes(element, draft, edit)
    return Record(id=element.id, place=element.place, edit=edit, probes=probes)


def _probes(element: Element, draft: Draft, edit: Edit) -> tuple[Probe, ...]:
    """The questions of a draft as probes, each text of a kind once, and never the edit's own."""
    own = edit.prompt.format(edit.subject)
    probes: dict[tuple[str, str], Probe] = {}
    for question in draft.questions:
        prompt = answerable(question.text, element.language, is_question=question.is_question)
        if not question.text.strip() or not question.answers or prompt == own:
            continue
        known = {normalised(label) for label in question.answers}
        probe = Probe(
            kind=question.kind,
            language=element.language,
            prompt=prompt,
            target=question.answers[0],
            accepted=question.answers,
            contrast=None if normalised(question.contrast) in known else question.contrast or None,
            fact=edit.group or element.id,
            relation=draft.relation,
        )
        probes.setdefault((probe.kind, probe.prompt), probe)
    return tuple(probes.values())
