"""Which attention heads carry an edited fact in a language, and corrections of their outputs.

MEMAT: arXiv:2502.02173; probes and center-of-mass directions: ITI, arXiv:2306.03341. All of it runs
on the weights as they are: call it inside `applied(model, delta)`.

The correct form differs from the released code in five points (docs/explanation/editing.md,
"MEMAT"): corrections of heads of one layer are summed; they are trained as the constant at every
position that they will be (editor/heads/training.py); the KL term has a gradient; every head is
clamped by its own norm; and templates are of the language. `form = "as-released"` computes what the
released code does in each of these points.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadEdit, BadSettings
from factd.editor.heads.training import HeadSettings, first_order_gains, train_vectors
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import forced_scores
from factd.editor.values.problem import ValueSettings

SENTENCES = 64  # run at once
TRAIN_SHARE = 0.7  # of the subjects; the others validate the probes


@dataclass(frozen=True, kw_only=True)
class HeadFeatures:
    """Outputs of all heads at the end of sentences that state a new object or the old one."""

    new: Tensor  # (facts, layers, heads, d_head) float32, behind prompt + target_new
    old: Tensor  # the same shape, behind prompt + target_true
    train: Tensor  # (facts,) bool: fits the probes; the other facts validate them


@dataclass(frozen=True, kw_only=True)
class FittedCorrections:
    """Chosen heads with their corrections."""

    heads: tuple[tuple[int, int], ...]  # (layer, head), best first
    vectors: Tensor  # (heads, d_head) float32, added to each head's output
    relevance: Tensor  # (layers, heads) float32, validation accuracy of the head's probe
    gains: Tensor  # (layers, heads) float32, `first_order_gains`; zeros unless they chose the heads
    facts: int  # that the probes were fitted and validated on


def fit_corrections(
    model: EditableModel,
    edits: Sequence[Edit],
    *,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
    progress: Progress = silent,
) -> FittedCorrections:
    """Choose heads for a language and fit their corrections to edits in that language.

    The probes use the edits that the edited model answers right. values: the loss, and the
    templates of the language. still: prompts about other facts, whose next token must stay the
    same; every batch has a sample of them beside it.

    Raises: BadEdit: too few edits are answered right and have a target_true. BadSettings: the model
    has fewer heads than the settings ask for. NotEditable: the model has no attention.
    """
    usable = edits_answered_right(model, edits)
    features = read_features(model, usable, seed=settings.seed)
    relevance = fit_probes(features)
    norms = torch.stack([features.new, features.old]).norm(dim=-1).mean((0, 1))
    gains = torch.zeros_like(relevance)
    if settings.choice == "gradient":
        gains = first_order_gains(model, edits, norms, settings, values, still)
    heads = choose_heads(gains if settings.choice == "gradient" else relevance, settings)
    own = torch.stack([norms[layer, head] for layer, head in heads])
    if settings.form == "center-of-mass":
        vectors = center_of_mass(features, heads) * settings.strength
    else:
        vectors = train_vectors(model, edits, heads, own, settings, values, still, progress)
    return FittedCorrections(
        heads=heads, vectors=vectors.cpu(), relevance=relevance, gains=gains, facts=len(usable)
    )


def edits_answered_right(model: EditableModel, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits with a target_true whose new target the model now gives.

    It gives a target if every token of it is the likeliest.

    Raises: BadEdit: they are about fewer than 4 subjects.
    """
    asked = [e for e in edits if e.target_true]
    answers = forced_scores(model, [(e.prompt.format(e.subject), e.target_new) for e in asked])
    usable = [e for e, (_, right) in zip(asked, answers, strict=True) if right]
    if len({e.subject for e in usable}) < 4:
        raise BadEdit(
            f"{len(usable)} of {len(edits)} edits are right in this language after the edit "
            "and have a target_true; head probes need 4 subjects or more"
        )
    return tuple(usable)


@torch.inference_mode()
def read_features(model: EditableModel, edits: Sequence[Edit], *, seed: int) -> HeadFeatures:
    """Head outputs at the last token of prompt + target_new and of prompt + target_true.

    Facts are split into training and validation by subject, drawn with the seed.
    """
    outputs = []
    for target in ("target_new", "target_true"):
        texts = [f"{e.prompt.format(e.subject)} {getattr(e, target)}" for e in edits]
        chunks = [texts[i : i + SENTENCES] for i in range(0, len(texts), SENTENCES)]
        outputs.append(torch.cat([_head_outputs(model, chunk) for chunk in chunks]))
    subjects = sorted({e.subject for e in edits})
    order = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(seed)).tolist()
    fitted = {subjects[i] for i in order[: max(2, round(TRAIN_SHARE * len(subjects)))]}
    train = torch.tensor([e.subject in fitted for e in edits])
    return HeadFeatures(new=outputs[0].clone(), old=outputs[1].clone(), train=train)


def _head_outputs(model: EditableModel, texts: Sequence[str]) -> Tensor:
    """(texts, layers, heads, d_head) float32 at the last token of each text."""
    ids = [model.tokenizer(text)["input_ids"] for text in texts]
    last = torch.tensor([len(row) - 1 for row in ids])
    with ExitStack() as stack:
        layers = range(len(model.blocks))
        inputs = [stack.enter_context(captured_input(model.attention_out(n))) for n in layers]
        model.run(model.embed(padded(ids, model.device)), 0, len(model.blocks))
    every = torch.arange(len(texts))
    at_last = [read[0].view(len(texts), -1, read[0].shape[-1])[every, last] for read in inputs]
    stacked = torch.stack(at_last, dim=1).float().cpu()
    return stacked.view(*stacked.shape[:2], model.heads, -1)


def fit_probes(features: HeadFeatures) -> Tensor:
    """Validation accuracy of a logistic regression on each head, (layers, heads), 0 to 1."""
    layers, heads = features.new.shape[1:3]
    accuracy = torch.zeros(layers, heads)
    train, check = features.train, ~features.train
    labels = {
        key: [1] * int(rows.sum()) + [0] * int(rows.sum()) for key, rows in ((0, train), (1, check))
    }
    for layer in range(layers):
        for head in range(heads):
            new, old = features.new[:, layer, head], features.old[:, layer, head]
            probe = LogisticRegression(max_iter=1000)
            probe.fit(torch.cat([new[train], old[train]]).numpy(), labels[0])
            validation = torch.cat([new[check], old[check]]).numpy()
            accuracy[layer, head] = probe.score(validation, labels[1])
    return accuracy


def choose_heads(relevance: Tensor, settings: HeadSettings) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs to correct: the best by relevance, or drawn at random.

    relevance (layers, heads) float32.

    Raises: BadSettings: the model has fewer heads than the settings ask for.
    """
    heads = relevance.shape[1]
    if settings.count > relevance.numel():
        raise BadSettings(f"the model has {relevance.numel()} heads, not {settings.count}")
    if settings.choice == "random":
        generator = torch.Generator().manual_seed(settings.seed)
        order = torch.randperm(relevance.numel(), generator=generator)
    else:
        order = torch.argsort(relevance.flatten(), descending=True, stable=True)
    return tuple((int(i) // heads, int(i) % heads) for i in order[: settings.count])


def center_of_mass(features: HeadFeatures, heads: Sequence[tuple[int, int]]) -> Tensor:
    """ITI's directions from the mean of the old outputs to that of the new, (heads, d_head).

    Each has the length of one standard deviation of the outputs along it (arXiv:2306.03341).
    """
    directions = []
    for layer, head in heads:
        new, old = features.new[:, layer, head], features.old[:, layer, head]
        direction = new.mean(0) - old.mean(0)
        direction = direction / direction.norm()
        directions.append(direction * (torch.cat([new, old]) @ direction).std())
    return torch.stack(directions) if directions else torch.zeros(0, features.new.shape[-1])
