"""Which attention heads carry an edited fact in a language, and the constant corrections of their outputs (MEMAT).

MEMAT: arXiv:2502.02173; probes and center-of-mass directions: ITI, arXiv:2306.03341. All of it runs on the weights as
they are: call it inside `applied(model, delta)`. The correct form differs from the released code (EDITING §3): corrections of
heads of one layer are summed, they are trained as the constant at every position that they will be (head_training.py), the KL
term has a gradient, every head is clamped by its own norm, and templates are of the language. `form = "as-released"` computes
what the released code does in each of these five points.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadEdit, BadSettings
from factd.editor.heads.training import HeadSettings, first_order_gains, trained
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import forced_scores
from factd.editor.values.problem import ValueSettings

CHUNK = 64  # sentences run at once
TRAIN_SHARE = 0.7  # of the facts; the others validate the probes


@dataclass(frozen=True, kw_only=True)
class Features:
    """Outputs of all heads at the end of sentences that state the new object and of sentences that state the old one."""

    new: Tensor  # (facts, layers, heads, d_head) float32
    old: Tensor  # the same
    train: Tensor  # (facts,) bool: used to fit; the others validate


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Heads with their corrections."""

    heads: tuple[tuple[int, int], ...]  # (layer, head), best first
    vectors: Tensor  # (heads, d_head) float32, what is added to each head's output
    relevance: Tensor  # (layers, heads) float32, validation accuracy of the head's probe
    gains: Tensor  # (layers, heads) float32, ‖∂loss/∂δ‖ times the head's mean output norm, nats; zeros unless chosen by gradient
    facts: int  # that the probes were fitted and validated on


def correct_heads(
    model: EditableModel,
    edits: Sequence[Edit],
    *,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
    progress: Progress = silent,
) -> Chosen:
    """The corrections of a language from edits in that language that the model, edited, gets right.

    values: the loss and the templates of the language. still: prompts whose next token must stay what it is (facts that no edit
    is about), a sample of them beside every batch. Raises: BadEdit: too few edits that are right and have a target_true.
    """
    usable = right_now(model, edits)
    features = read_features(model, usable, seed=settings.seed)
    relevance = fit_probes(features)
    every = torch.stack([features.new, features.old]).norm(dim=-1).mean((0, 1))
    gains = torch.zeros_like(relevance)
    if settings.choice == "gradient":
        gains = first_order_gains(model, edits, every, settings, values, still)
    heads = ranked(gains if settings.choice == "gradient" else relevance, settings)
    norms = torch.stack([every[layer, head] for layer, head in heads])
    if settings.form == "center-of-mass":
        vectors = center_of_mass(features, heads) * settings.strength
    else:
        vectors = trained(model, edits, heads, norms, settings, values, still, progress)
    return Chosen(
        heads=heads, vectors=vectors.cpu(), relevance=relevance, gains=gains, facts=len(usable)
    )


def right_now(model: EditableModel, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits with a target_true whose prompt the model now answers with the new target: every token is the likeliest."""
    asked = [e for e in edits if e.target_true]
    said = forced_scores(model, [(e.prompt.format(e.subject), e.target_new) for e in asked])
    found = [e for e, (_, right) in zip(asked, said, strict=True) if right]
    if len({e.subject for e in found}) < 4:
        raise BadEdit(
            f"{len(found)} of {len(edits)} edits are right in this language after the edit and have a target_true; "
            "head probes need 4 subjects or more"
        )
    return tuple(found)


@torch.inference_mode()
def read_features(model: EditableModel, edits: Sequence[Edit], *, seed: int) -> Features:
    """Head outputs at the last token of prompt + target_new and of prompt + target_true; split by subject."""
    outputs = []
    for target in ("target_new", "target_true"):
        texts = [f"{e.prompt.format(e.subject)} {getattr(e, target)}" for e in edits]
        outputs.append(
            torch.cat([_outputs(model, texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)])
        )
    subjects = sorted({e.subject for e in edits})
    order = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(seed)).tolist()
    fitted = {subjects[i] for i in order[: max(2, round(TRAIN_SHARE * len(subjects)))]}
    train = torch.tensor([e.subject in fitted for e in edits])
    return Features(new=outputs[0].clone(), old=outputs[1].clone(), train=train)


def _outputs(model: EditableModel, texts: Sequence[str]) -> Tensor:
    """(texts, layers, heads, d_head) at the last token of each text."""
    ids = [model.tokenizer(text)["input_ids"] for text in texts]
    last = torch.tensor([len(row) - 1 for row in ids])
    with ExitStack() as stack:
        layers = range(len(model.blocks))
        seen = [stack.enter_context(captured_input(model.attention_out(n))) for n in layers]
        model.run(model.embed(padded(ids, model.device)), 0, len(model.blocks))
    every = torch.arange(len(texts))
    found = [inputs[0].view(len(texts), -1, inputs[0].shape[-1])[every, last] for inputs in seen]
    stacked = torch.stack(found, dim=1).float().cpu()
    return stacked.view(*stacked.shape[:2], model.heads, -1)


def fit_probes(features: Features) -> Tensor:
    """Validation accuracy of a logistic regression on every head, (layers, heads)."""
    layers, heads = features.new.shape[1:3]
    found = torch.zeros(layers, heads)
    train, check = features.train, ~features.train
    labels = {
        key: [1] * int(rows.sum()) + [0] * int(rows.sum()) for key, rows in ((0, train), (1, check))
    }
    for layer in range(layers):
        for head in range(heads):
            new, old = features.new[:, layer, head], features.old[:, layer, head]
            probe = LogisticRegression(max_iter=1000)
            probe.fit(torch.cat([new[train], old[train]]).numpy(), labels[0])
            found[layer, head] = probe.score(torch.cat([new[check], old[check]]).numpy(), labels[1])
    return found


def ranked(relevance: Tensor, settings: HeadSettings) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs to correct: the best by relevance, or drawn at random."""
    heads = relevance.shape[1]
    if settings.count > relevance.numel():
        raise BadSettings(f"the model has {relevance.numel()} heads, not {settings.count}")
    if settings.choice == "random":
        generator = torch.Generator().manual_seed(settings.seed)
        order = torch.randperm(relevance.numel(), generator=generator)
    else:
        order = torch.argsort(relevance.flatten(), descending=True, stable=True)
    return tuple((int(i) // heads, int(i) % heads) for i in order[: settings.count])


def center_of_mass(features: Features, heads: Sequence[tuple[int, int]]) -> Tensor:
    """ITI's directions, (heads, d_head): from the mean of the old to that of the new, of the length of one standard deviation."""
    found = []
    for layer, head in heads:
        new, old = features.new[:, layer, head], features.old[:, layer, head]
        direction = new.mean(0) - old.mean(0)
        direction = direction / direction.norm()
        found.append(direction * (torch.cat([new, old]) @ direction).std())
    return torch.stack(found) if found else torch.zeros(0, features.new.shape[-1])
