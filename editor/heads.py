"""Which attention heads carry an edited fact in a language, and the constant corrections of their outputs (MEMAT).

MEMAT: arXiv:2502.02173; probes and center-of-mass directions: ITI, arXiv:2306.03341. All of it runs on the weights as
they are: call it inside `applied(model, delta)`. The correct form differs from the released code (EDITING §3): corrections of
heads of one layer are summed, they are trained as the constant at every position that they will be, the KL term has a
gradient, every head is clamped by its own norm, and templates are of the language. `form = "as-released"` computes what the
released code does in each of these five points.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from editor.edits import Edit
from editor.errors import BadEdit, BadSettings
from editor.hooks import captured_input, moved_output
from editor.model import EditableModel
from editor.progress import Progress, silent
from editor.score import forced
from editor.tokens import padded
from editor.values import Rows, ValueSettings, make_rows, row_losses

CHOICES = ("probes", "gradient", "random")
FORMS = ("correct", "as-released", "center-of-mass")
CHUNK = 64  # sentences run at once
STILL = 96  # prompts that must stay, per batch
TRAIN_SHARE = 0.7  # of the facts; the others validate the probes


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How heads are chosen and corrected.

    Raises: BadSettings: an unknown word, a number out of range.
    """

    count: int = 16  # heads that are corrected; 0: none
    choice: str = "probes"  # as published; "gradient": where a constant lowers the loss most; "random": a control
    form: str = "correct"  # "as-released"; "center-of-mass": ITI's directions instead of training
    lr: float = 0.1  # of a step, relative to the head's mean output norm
    epochs: int = 1
    batch_size: int = 32  # edits
    keep_factor: float = 1.0  # times the KL weights of the values: how hard other answers are held
    still_factor: float = 4.0  # of the KL of prompts about other facts, where they are given
    only_right: bool = False  # train on the edits that are right in the language now, as probes do
    clamp_norm_factor: float = 0.75  # ‖δ‖ at most this times the head's mean output norm
    strength: float = 5.0  # of center-of-mass directions, in standard deviations
    seed: int = 0  # of the split, the order and random heads

    def __post_init__(self) -> None:
        if self.choice not in CHOICES or self.form not in FORMS:
            raise BadSettings(
                f"heads are chosen by {' or '.join(CHOICES)}, in the form {' or '.join(FORMS)}; "
                f"not {self.choice!r}, {self.form!r}"
            )
        if self.count < 0 or self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise BadSettings("head count, epochs, batch size and lr must not be below 0")


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
        chosen = usable if settings.only_right else edits
        vectors = trained(model, chosen, heads, norms, settings, values, still, progress)
    return Chosen(
        heads=heads, vectors=vectors.cpu(), relevance=relevance, gains=gains, facts=len(usable)
    )


def right_now(model: EditableModel, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits with a target_true whose prompt the model now answers with the new target: every token is the likeliest."""
    asked = [e for e in edits if e.target_true]
    said = forced(model, [(e.prompt.format(e.subject), e.target_new) for e in asked])
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


def first_order_gains(
    model: EditableModel,
    edits: Sequence[Edit],
    norms: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
) -> Tensor:
    """How much the loss falls, to first order, with a constant of the head's own mean norm, (layers, heads)."""
    layers, count = norms.shape
    heads = [(layer, head) for layer in range(layers) for head in range(count)]
    share = torch.zeros(len(heads), model.head_weight(0).shape[-1], device=model.device)
    share.requires_grad_(True)
    batches = list(_batches(edits, replace(settings, epochs=1)))
    for number, batch in enumerate(batches):
        loss = _loss(model, batch, number, heads, share, settings, values, still)
        loss.backward()  # type: ignore[no-untyped-call]
    assert share.grad is not None
    found: Tensor = share.grad.norm(dim=-1).view(layers, count).cpu() / len(batches) * norms
    return found


def center_of_mass(features: Features, heads: Sequence[tuple[int, int]]) -> Tensor:
    """ITI's directions, (heads, d_head): from the mean of the old to that of the new, of the length of one standard deviation."""
    found = []
    for layer, head in heads:
        new, old = features.new[:, layer, head], features.old[:, layer, head]
        direction = new.mean(0) - old.mean(0)
        direction = direction / direction.norm()
        found.append(direction * (torch.cat([new, old]) @ direction).std())
    return torch.stack(found) if found else torch.zeros(0, features.new.shape[-1])


def trained(
    model: EditableModel,
    edits: Sequence[Edit],
    heads: Sequence[tuple[int, int]],
    norms: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
    progress: Progress = silent,
) -> Tensor:
    """Corrections by Adam on the loss of the values, (heads, d_head) float32; ‖δ_h‖ ≤ clamp · mean norm of the head's output."""
    released = settings.form == "as-released"
    if released:  # one norm clamps all heads; a KL term without gradient is none
        norms = norms[:1].expand_as(norms)
        values = replace(values, kl_factor=0.0, keep_factor=0.0)
    values = replace(
        values,
        kl_factor=values.kl_factor * settings.keep_factor,
        keep_factor=values.keep_factor * settings.keep_factor,
    )
    norms = norms.to(model.device)[:, None]
    width = model.head_weight(0).shape[-1]
    share = torch.zeros(len(heads), width, device=model.device, requires_grad=True)
    optimiser = torch.optim.Adam([share], lr=settings.lr / width**0.5)
    batches = list(_batches(edits, settings))
    for number, batch in enumerate(batches):
        loss = _loss(model, batch, number, heads, share * norms, settings, values, still)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            size = share.norm(dim=-1, keepdim=True).clamp_min(settings.clamp_norm_factor)
            share.mul_(settings.clamp_norm_factor / size)
        progress("head corrections", number + 1, len(batches))
    return (share * norms).detach()


def _batches(edits: Sequence[Edit], settings: HeadSettings) -> Iterator[list[Edit]]:
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.epochs):
        for part in torch.split(
            torch.randperm(len(edits), generator=generator), settings.batch_size
        ):
            yield [edits[i] for i in part.tolist()]


def _loss(
    model: EditableModel,
    batch: Sequence[Edit],
    number: int,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str],
) -> Tensor:
    """The loss of the values over a batch, and the KL of the next prompts that must stay."""
    released = settings.form == "as-released"
    rows = make_rows(model, batch, values)
    loss = _batch_loss(model, rows, heads, vectors, released=released)
    if still and settings.still_factor and not released:
        part = [still[(number * STILL + i) % len(still)] for i in range(min(STILL, len(still)))]
        loss = loss + settings.still_factor * _moved(model, part, heads, vectors)
    return loss


def _batch_loss(
    model: EditableModel,
    rows: Rows,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    released: bool,
) -> Tensor:
    """Mean loss over the batch's edits with the corrections in place."""
    ids = [r.ids[:-1] if r.target < len(r.ids) else r.ids for r in rows.rows]
    lowest = min(layer for layer, _ in heads)
    place = torch.arange(len(ids), device=model.device)
    with torch.no_grad():
        stream = model.run(model.embed(padded(ids, model.device)), 0, lowest)
        _, before = row_losses(model, rows, place, model.run(stream, lowest, len(model.blocks)))
    with constants(model, heads, vectors, last_only=released):
        top = model.run(stream, lowest, len(model.blocks))
    loss, _ = row_losses(model, rows, place, top, before)
    return loss.mean()


def _moved(
    model: EditableModel, prompts: Sequence[str], heads: Sequence[tuple[int, int]], vectors: Tensor
) -> Tensor:
    """Mean KL of the next token after prompts, with the corrections against without."""
    ids = [model.tokenizer(prompt)["input_ids"] for prompt in prompts]
    at = torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])
    stop, lowest = len(model.blocks), min(layer for layer, _ in heads)
    with torch.no_grad():
        stream = model.run(model.embed(padded(ids, model.device)), 0, lowest)
        before = model.logits(model.run(stream, lowest, stop)[at]).float().log_softmax(-1)
    with constants(model, heads, vectors):
        now = model.logits(model.run(stream, lowest, stop)[at]).float().log_softmax(-1)
    return (now.exp() * (now - before)).sum(-1).mean()


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
