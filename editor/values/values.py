"""Target values z: what the residual stream at the subject's last token must be for the model to say the target.

MEMIT, arXiv:2210.07229, equation 16, in the form of the released code (EDITING §1): Adam on δ alone, which is added to the
output of the z layer at the subject's last token of every row; z = z0 + δ. A value depends on the base model, the group's edits,
the templates and the settings, never on what other groups are computed beside it. How many facts are computed at
once without changing that: editor/values/optimizer.py.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadValue, EditorError
from factd.editor.models.model import EditableModel
from factd.editor.values.optimizer import Economy, find_deltas
from factd.editor.values.problem import Slot, ValueSettings, make_slot, slots_of


def group_values(
    model: EditableModel,
    edits: Sequence[Edit],
    settings: ValueSettings,
    economy: Economy | None = None,
) -> Tensor:
    """The value z of every edit of a group, (edits, d), float32.

    Raises: BadValue: a value is not a finite number.
    """
    return next(values_of_groups(model, [edits], settings, economy))[1]


def values_of_groups(
    model: EditableModel,
    groups: Sequence[Sequence[Edit]],
    settings: ValueSettings,
    economy: Economy | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """(number of the group, the values of its edits (edits, d) float32), as groups are finished.

    Raises: BadValue: a value is not a finite number.
    """
    owners = [
        (number, members)
        for number, group in enumerate(groups)
        for members in slots_of(group, shared=settings.share_wordings)
    ]
    slots = [_slot(model, [groups[n][i] for i in members], settings) for n, members in owners]
    found: list[dict[int, Tensor]] = [{} for _ in groups]
    for slot, values in _found(model, groups, owners, slots, settings, economy or Economy()):
        number, members = owners[slot]
        found[number] |= dict(zip(members, values, strict=True))
        if len(found[number]) == len(groups[number]):
            rows = found[number]
            yield number, torch.stack([rows[i] for i in range(len(rows))])
            found[number] = {}


def _slot(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> Slot:
    """As `make_slot`; an edit that cannot be read names its group."""
    try:
        return make_slot(model, edits, settings)
    except EditorError as error:
        error.group = edits[0].group
        raise


def _found(
    model: EditableModel,
    groups: Sequence[Sequence[Edit]],
    owners: Sequence[tuple[int, list[int]]],
    slots: Sequence[Slot],
    settings: ValueSettings,
    economy: Economy,
) -> Iterator[tuple[int, Tensor]]:
    """As `find_deltas`; a value that is none names its group."""
    try:
        yield from find_deltas(model, slots, settings, economy)
    except BadValue as error:
        error.group = groups[owners[error.slot][0]][0].group
        raise
