"""Constants added to the outputs of attention heads: by hooks in training, or as biases."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from factd.editor.models.hooks import moved_output
from factd.editor.models.model import EditableModel


@contextmanager
def added_to_heads(
    model: EditableModel,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    last_only: bool = False,
) -> Iterator[None]:
    """While the context is open, constants are added to the heads' outputs, with gradients.

    heads: (layer, head) pairs; vectors (heads, d_head) float32. The constants are added at every
    position; last_only: at the last position of the padded batch alone, as the released code
    trains.
    """
    with ExitStack() as stack:
        for layer, bias in layer_biases(model, heads, vectors).items():

            def move(output: Tensor, bias: Tensor = bias) -> Tensor:
                if not last_only:
                    return output + bias
                return torch.cat([output[:, :-1], output[:, -1:] + bias], dim=1)

            stack.enter_context(moved_output(model.attention_out(layer), move))
        yield


def layer_biases(
    model: EditableModel,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    overwrite: bool = False,
) -> dict[int, Tensor]:
    """What corrections add to the attention output of each layer: Σ W_O[:, h] δ_h over its heads.

    The result maps a layer to (d,) float32. heads: (layer, head) pairs; vectors (heads, d_head).
    overwrite: the last head of a layer replaces the others, as the released code folds.
    """
    biases: dict[int, Tensor] = {}
    for (layer, head), vector in zip(heads, vectors, strict=True):
        column = model.head_weight(layer)[:, head].float() @ vector.to(model.device)
        biases[layer] = biases[layer] + column if layer in biases and not overwrite else column
    return biases
