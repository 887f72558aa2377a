"""Constants added to the outputs of attention heads: in place while they are trained, folded into biases when they are kept."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from factd.editor.models.hooks import moved_output
from factd.editor.models.model import EditableModel


@contextmanager
def constants(
    model: EditableModel,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    last_only: bool = False,
) -> Iterator[None]:
    """The model with vectors (heads, d_head) added to the heads' outputs at every position, with gradients.

    last_only: at the last position of the padded batch alone, as the released code trains.
    """
    with ExitStack() as stack:
        for layer, bias in biases(model, heads, vectors).items():

            def move(output: Tensor, bias: Tensor = bias) -> Tensor:
                if not last_only:
                    return output + bias
                return torch.cat([output[:, :-1], output[:, -1:] + bias], dim=1)

            stack.enter_context(moved_output(model.attention_out(layer), move))
        yield


def biases(
    model: EditableModel,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    overwrite: bool = False,
) -> dict[int, Tensor]:
    """What the corrections add to the attention output of each layer, (d,): Σ W_O[:, slot h] δ_h over its heads.

    overwrite: the last head of a layer replaces the others, as the released code folds.
    """
    found: dict[int, Tensor] = {}
    for (layer, head), vector in zip(heads, vectors, strict=True):
        column = model.head_weight(layer)[:, head].float() @ vector.to(model.device)
        found[layer] = found[layer] + column if layer in found and not overwrite else column
    return found
