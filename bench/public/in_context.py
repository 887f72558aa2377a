"""The in-context baseline: the new fact stands before the question, and no weight changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from factd.editor.edits import Edit
from factd.editor.scoring.score import Probe

SEPARATOR = "\n"  # between the fact and the question


def statement(edit: Edit) -> str:
    """The new fact as a sentence."""
    said = f"{edit.prompt.format(edit.subject)} {edit.target_new}"
    return said if said.endswith((".", "!", "?")) else f"{said}."


def with_facts(
    probes: Sequence[Probe], edits: Mapping[str, Edit], *, separator: str = SEPARATOR
) -> tuple[Probe, ...]:
    """The probes with a fact before each question.

    A question about a record gets the record's own new fact, as if a search had found it; so do its
    neighbours (IKE, arXiv:2305.12740, does the same). Any other question gets the fact of one edit
    in turn, because a search that always finds something would put one there.

    edits: record id -> edit.
    """
    every = list(edits.values())
    return tuple(
        replace(
            p,
            prompt=f"{statement(edits.get(p.fact) or every[n % len(every)])}{separator}{p.prompt}",
        )
        for n, p in enumerate(probes)
    )


def extra_tokens(tokenizer: Any, edits: Sequence[Edit]) -> float:
    """Tokens that a fact adds to a question, in the mean."""
    counts = [len(tokenizer(statement(edit) + SEPARATOR)["input_ids"]) for edit in edits]
    return sum(counts) / len(counts)
