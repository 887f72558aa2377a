"""Plain fine-tuning of one MLP matrix: the baseline that everyone asks for, in a fair form.

Breadth first: mini-batches are drawn from all edits, epoch after epoch, instead of one edit being
trained to the end before the next (arXiv:2509.22072 shows that the latter is what made fine-tuning
look bad). Adam changes the weight of one layer. The loss is that of the target behind the bare
prompt and behind the templates. There are no values, keys or second moments: only `l2` holds other
facts in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from factd.editor.deltas.delta import Delta
from factd.editor.edits import Edit, EditBatch
from factd.editor.errors import BadSettings, SingularSystem
from factd.editor.methods import Method
from factd.editor.methods._write import (
    delta_identity,
    language_templates,
    require_above_zero,
    require_layers,
)
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import Row, padded, row
from factd.editor.models.weights import weights_restored
from factd.editor.progress import Progress, silent
from factd.editor.solving.keys import Templates
from factd.editor.solving.layers import delta_part


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings:
    """Settings of fine-tuning.

    Raises: BadSettings: several layers, or a number out of range.
    """

    layers: tuple[int, ...]
    """The one block whose matrix is trained."""
    lr: float = 5e-4
    """Step size."""
    epochs: int = 20
    """Passes over the edits."""
    batch_size: int = 32
    """Edits in a step."""
    l2: float = 0.0
    """Weight of the change, relative to the squared norm of the weight."""
    templates: Templates = field(default_factory=dict)
    """Prefixes for each language; empty: the model writes them."""
    terminator: str = ""
    """Text behind every target, so that an answer also ends where it should."""
    seed: int = 0
    """Seed of the order."""

    def __post_init__(self) -> None:
        if len(self.layers) != 1:
            raise BadSettings(f"fine_tuning trains one layer, not {list(self.layers)}; layers=[N]")
        for name in ("lr", "epochs", "batch_size"):
            require_above_zero(name, getattr(self, name))


Settings = FineTuningSettings  # the plugin loader looks for this name


def edit(
    model: EditableModel,
    batch: EditBatch,
    *,
    settings: FineTuningSettings,
    workspace: Path,
    progress: Progress = silent,
) -> Delta:
    """The delta that training the layer's weight on the whole batch gives.

    Raises: BadEdit, BadSettings (the model has no such layer), SingularSystem (the loss is not
    finite).
    """
    require_layers(model, settings.layers)
    languages = {e.language for e in batch.edits}
    templates = language_templates(model, languages, settings.templates, seed=settings.seed)
    identity = delta_identity(model, batch, "fine_tuning", settings, templates)
    if not batch.edits:
        return Delta(parts={}, **identity)
    weight = model.weight(settings.layers[0])
    with weights_restored([weight]):
        before = weight.detach().clone()
        train(model, batch.edits, settings, templates, progress)
        update = weight.detach() - before
    size = float(update.norm() / before.norm())
    return Delta(
        parts={model.parameter(settings.layers[0]): delta_part(model, update)},
        diagnostics={f"layer.{settings.layers[0]}.update_norm_ratio": size},
        **identity,
    )


def train(
    model: EditableModel,
    edits: Sequence[Edit],
    settings: FineTuningSettings,
    templates: Templates,
    progress: Progress = silent,
) -> None:
    """Train the layer's weight in place. Raises: SingularSystem: the loss is not finite."""
    parameter = model.mlp_out(settings.layers[0]).weight
    before, scale = parameter.detach().clone(), float(parameter.norm()) ** 2
    rows = [
        row(model.tokenizer, e.prompt, e.subject, e.target_new + settings.terminator, prefix)
        for e in edits
        for prefix in ("", *templates.get(e.language, ()))
    ]
    order = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.Adam([parameter.requires_grad_(True)], lr=settings.lr)
    try:
        for epoch in range(settings.epochs):
            for chosen in torch.split(
                torch.randperm(len(rows), generator=order), settings.batch_size
            ):
                loss = nll(model, [rows[i] for i in chosen.tolist()], settings.layers[0])
                loss = loss + settings.l2 * (parameter - before).pow(2).sum() / scale
                if not torch.isfinite(loss):
                    raise SingularSystem("the loss is not finite; lower lr")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            progress("fine-tuning", epoch + 1, settings.epochs)
    finally:
        parameter.requires_grad_(False)
        parameter.grad = None


def nll(model: EditableModel, rows: Sequence[Row], layer: int) -> Tensor:
    """The mean over rows of the mean -log p of their target tokens: a float32 scalar in nats.

    Blocks below the layer get no gradient.
    """
    ids = padded([r.ids for r in rows], model.device)
    with torch.no_grad():
        hidden = model.run(model.embed(ids), 0, layer)
    hidden = model.run(hidden, layer, len(model.blocks))
    spans = [(n, at) for n, r in enumerate(rows) for at in range(r.target, len(r.ids))]
    owner, at = torch.tensor(spans, device=model.device).T
    log = model.logits(hidden[owner, at - 1]).float().log_softmax(-1)
    token = -log.gather(1, ids[owner, at][:, None])[:, 0]
    share = torch.tensor([1.0 / (len(r.ids) - r.target) for r in rows], device=model.device)
    return (token * share[owner]).sum() / len(rows)


_: Method = edit
