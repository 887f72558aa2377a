"""Target values z: what the residual stream must be for the model to say the target.

The stream is that at the subject's last token. MEMIT, arXiv:2210.07229, equation 16, in the
form of the released code (docs/explanation/editing.md, "MEMIT"): Adam optimises δ alone, which is
added to the output of the z layer at the subject's last token of every row; z = z0 + δ. A value
depends on the base model, the group's edits, the templates and the settings. It does not depend on
the groups that are computed beside it. editor/values/optimizer.py computes many facts at
once without changing that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadValue, EditorError
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.values.optimizer import ComputeOptions, Evaluated, find_values
from factd.editor.values.problem import ValueProblem, ValueSettings, edits_by_problem, make_problem

STAGE = "value steps"  # of the progress


def group_values(
    model: EditableModel,
    edits: Sequence[Edit],
    settings: ValueSettings,
    compute: ComputeOptions | None = None,
) -> Tensor:
    """The value z of every edit of a group, (edits, d) float32, on the device of the model.

    Raises: BadEdit: a subject or target has no token. BadValue: a value is not finite.
    """
    return next(values_of_groups(model, [edits], settings, compute))[1]


def values_of_groups(
    model: EditableModel,
    groups: Sequence[Sequence[Edit]],
    settings: ValueSettings,
    compute: ComputeOptions | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[int, Tensor]]:
    """(number of the group, the values of its edits (edits, d) float32), as groups are finished.

    progress: is told of the evaluations of problems. Many values converge before the last one.

    Raises: BadEdit: a subject or target has no token. BadValue: a value is not finite. Both carry
    the name of the group.
    """
    owners = [
        (number, members)
        for number, group in enumerate(groups)
        for members in edits_by_problem(group, shared=settings.share_wordings)
    ]
    problems = [_problem(model, [groups[n][i] for i in members], settings) for n, members in owners]
    rows: list[dict[int, Tensor]] = [{} for _ in groups]  # per group, edit -> its value
    compute = compute or ComputeOptions()
    steps = _EvaluationProgress(progress, len(problems) * settings.v_num_grad_steps)
    for problem, values in _values(model, groups, owners, problems, settings, compute, steps):
        number, members = owners[problem]
        rows[number] |= dict(zip(members, values, strict=True))
        if len(rows[number]) == len(groups[number]):
            yield number, torch.stack([rows[number][i] for i in range(len(rows[number]))])
            rows[number] = {}
    if problems:
        progress(STAGE, steps.total, steps.total)


@dataclass
class _EvaluationProgress:
    """Reports the sum of all evaluations, of as many as there can be."""

    progress: Progress
    total: int
    done: int = 0

    def __call__(self, number: int) -> None:
        self.done += number
        self.progress(STAGE, min(self.done, self.total - 1), self.total)


def _problem(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> ValueProblem:
    """`make_problem`; its error carries the group of the edits."""
    try:
        return make_problem(model, edits, settings)
    except EditorError as error:
        error.group = edits[0].group
        raise


def _values(
    model: EditableModel,
    groups: Sequence[Sequence[Edit]],
    owners: Sequence[tuple[int, list[int]]],
    problems: Sequence[ValueProblem],
    settings: ValueSettings,
    compute: ComputeOptions,
    evaluated: Evaluated,
) -> Iterator[tuple[int, Tensor]]:
    """`find_values`; if a value is not finite, the error carries the group of its edits."""
    try:
        yield from find_values(model, problems, settings, compute, evaluated)
    except BadValue as error:
        error.group = groups[owners[error.problem][0]][0].group
        raise
