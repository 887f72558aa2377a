"""Where things are in a tokenised text, found through the tokenizer's character offsets (never by counting substrings)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from factd.editor.errors import BadEdit


@dataclass(frozen=True)
class Row:
    """One text as the model reads it."""

    ids: tuple[int, ...]
    subject: int  # position of the subject's last token
    target: int  # position of the target's first token; len(ids) where the row has no target

    @property
    def read(self) -> tuple[int, ...]:
        """What the model must read to be scored: a target's last token need not be."""
        return self.ids[:-1] if self.target < len(self.ids) else self.ids


def row(tokenizer: Any, prompt: str, subject: str, target: str = "", prefix: str = "") -> Row:
    """A prompt with its subject, behind a prefix and before a target, tokenised once as a whole.

    prompt holds "{}" once; target is joined with a space. Raises: BadEdit: the subject or the target has no token.
    """
    before = f"{prefix}. " if prefix else ""
    asked = before + prompt.format(subject)
    end = len(before) + prompt.index("{}") + len(subject)
    encoded = tokenizer(f"{asked} {target}" if target else asked, return_offsets_mapping=True)
    spans = [(i, a, b) for i, (a, b) in enumerate(encoded["offset_mapping"]) if b > a]
    holds_subject = [i for i, a, _ in spans if a < end]
    holds_target = [i for i, _, b in spans if b > len(asked)]
    if not holds_subject or (target and not holds_target):
        raise BadEdit(f"the tokenizer has no token for {subject!r} or {target!r}")
    first = holds_target[0] if target else len(encoded["input_ids"])
    return Row(tuple(encoded["input_ids"]), holds_subject[-1], first)


def subject_span(tokenizer: Any, prompt: str, subject: str) -> tuple[tuple[int, ...], int, int]:
    """Token ids of a prompt with its subject, and the positions of the subject's first and last token."""
    found = row(tokenizer, prompt, subject)
    offsets = tokenizer(prompt.format(subject), return_offsets_mapping=True)["offset_mapping"]
    begin = prompt.index("{}")
    holds = [i for i, (a, b) in enumerate(offsets) if b > a and b > begin]
    return found.ids, min(holds[0], found.subject), found.subject


def padded(
    rows: Sequence[Sequence[int]], device: torch.device | str = "cpu", *, longest: int = 0
) -> Tensor:
    """Rows of ids as one tensor (rows, longest), filled with 0 on the right, where causal attention never looks."""
    longest = max(longest, *(len(ids) for ids in rows), 0)
    return torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in rows], device=device)
