"""Where subject and target are in a tokenised text.

Positions come from the tokenizer's character offsets, never from counting substrings.
"""

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
    target: int  # position of the target's first token; len(ids) if the row has no target

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens that the model must read to score the row: all but a target's last one."""
        return self.ids[:-1] if self.target < len(self.ids) else self.ids


def row(tokenizer: Any, prompt: str, subject: str, target: str = "", prefix: str = "") -> Row:
    """A prompt with its subject, behind a prefix and before a target, tokenised once as a whole.

    prompt holds "{}" once; prefix ends with ". " before the prompt; target is joined with a space.

    Raises: BadEdit: the subject or the target has no token.
    """
    before = f"{prefix}. " if prefix else ""
    asked = before + prompt.format(subject)
    end = len(before) + prompt.index("{}") + len(subject)
    encoded = tokenizer(f"{asked} {target}" if target else asked, return_offsets_mapping=True)
    spans = [(i, a, b) for i, (a, b) in enumerate(encoded["offset_mapping"]) if b > a]
    holds_subject = [i for i, a, _ in spans if a < end]
    holds_target = [i for i, _, b in spans if b > len(asked)]
    if not holds_subject or (target and not holds_target):
        raise BadEdit(
            f"the tokenizer has no token for {subject!r} or {target!r}; "
            "check both for odd characters"
        )
    first = holds_target[0] if target else len(encoded["input_ids"])
    return Row(tuple(encoded["input_ids"]), holds_subject[-1], first)


def subject_span(tokenizer: Any, prompt: str, subject: str) -> tuple[tuple[int, ...], int, int]:
    """Token ids of a prompt, and the positions of its subject's first and last token."""
    tokens = row(tokenizer, prompt, subject)
    offsets = tokenizer(prompt.format(subject), return_offsets_mapping=True)["offset_mapping"]
    begin = prompt.index("{}")
    holds = [i for i, (a, b) in enumerate(offsets) if b > a and b > begin]
    return tokens.ids, min(holds[0], tokens.subject), tokens.subject


def padded(
    rows: Sequence[Sequence[int]], device: torch.device | str = "cpu", *, longest: int = 0
) -> Tensor:
    """Rows of token ids as one int64 tensor (rows, length), filled with 0 on the right.

    Causal attention never looks there. longest: the length, at least.
    """
    longest = max(longest, *(len(ids) for ids in rows), 0)
    return torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in rows], device=device)
