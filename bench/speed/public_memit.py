"""MEMIT as in its public code: one fact at a time, the whole model and all logits every step.

It is the baseline of the speed benchmark and the oracle of the golden tests. It shares only the
loaded model with `editor`. AlphaEdit's public code differs from MEMIT's in the solve of a layer
only (`alphaedit_layer`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PublicSettings:
    """The settings of public MEMIT, under its own names."""

    block: str  # name of the module of the z layer
    context_templates: tuple[tuple[str, ...], ...]  # by type: without prefix, with prefixes
    kl_prompt: str = "{} is a"
    v_lr: float = 0.5
    v_num_grad_steps: int = 25
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 0.75
    kl_factor: float = 0.0625
    early_stop_loss: float = 0.05


Request = Mapping[str, Any]  # prompt with "{}", subject, target_new


def tokenised(tokenizer: Any, texts: Sequence[tuple[str, int]]) -> tuple[Tensor, list[int], Tensor]:
    """Right-padded token ids (rows, longest), lengths, and a position in each row (rows,).

    texts: (text, character); the position is that of the token that ends at the character.
    """
    found = [tokenizer(text, return_offsets_mapping=True) for text, _ in texts]
    at = [
        max(i for i, (a, b) in enumerate(one["offset_mapping"]) if b > a and a < end)
        for one, (_, end) in zip(found, texts, strict=True)
    ]
    lengths = [len(one["input_ids"]) for one in found]
    rows = [[*one["input_ids"], *[0] * (max(lengths) - len(one["input_ids"]))] for one in found]
    return torch.tensor(rows), lengths, torch.tensor(at)


def rendered(request: Request, template: str) -> tuple[str, int]:
    """A prompt in a template with its subject, and the character at which the subject ends."""
    prompt = template.format(request["prompt"])
    return prompt.format(request["subject"]), prompt.index("{}") + len(request["subject"])


@contextmanager
def added_delta(module: Any, at: Tensor, delta: Tensor | None) -> Iterator[dict[str, Tensor]]:
    """Add δ (d,) to a block's output at one position of each row.

    Yields a dictionary; "stream" in it is the output at these positions, (rows, d).
    """
    seen: dict[str, Tensor] = {}
    rows = torch.arange(len(at))

    def after(_: Any, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        if delta is not None:
            hidden = hidden.clone()
            hidden[rows, at] += delta
        seen["stream"] = hidden[rows, at]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = module.register_forward_hook(after)
    try:
        yield seen
    finally:
        handle.remove()


def value(
    model: Any, tokenizer: Any, request: Request, settings: PublicSettings
) -> tuple[Tensor, int]:
    """z of one request (d,), and how many evaluations it took."""
    templates = [t for kind in settings.context_templates for t in kind]
    answer = " " + request["target_new"]
    texts = [rendered(request, template) for template in templates]
    essence = rendered({**request, "prompt": settings.kl_prompt}, "{}")
    ids, lengths, at = tokenised(tokenizer, [*((t + answer, end) for t, end in texts), essence])
    plain = [len(tokenizer(text)["input_ids"]) for text, _ in texts]
    block = model.get_submodule(settings.block)
    delta, start, before = None, None, None
    optimizer: Any = None
    for step in range(settings.v_num_grad_steps):
        if delta is None:
            with torch.no_grad(), added_delta(block, at, None) as seen:
                model(input_ids=ids)
            start = seen["stream"][0].clone()
            delta = torch.zeros_like(start, requires_grad=True)
            optimizer = torch.optim.Adam([delta], lr=settings.v_lr)
        with added_delta(block, at, delta):
            log = model(input_ids=ids).logits.log_softmax(-1)
        losses = [
            -log[n, begin - 1 : end - 1].gather(1, ids[n, begin:end, None]).mean()
            for n, (begin, end) in enumerate(zip(plain, lengths[:-1], strict=True))
        ]
        now = log[-1, at[-1]]
        before = now.detach().clone() if before is None else before
        assert start is not None
        loss = torch.stack(losses).mean() + settings.kl_factor * (now.exp() * (now - before)).sum()
        loss = loss + settings.v_weight_decay * delta.norm() / start.norm() ** 2
        if loss < settings.early_stop_loss or step == settings.v_num_grad_steps - 1:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        limit = settings.clamp_norm_factor * start.norm()
        if delta.norm() > limit:
            with torch.no_grad():
                delta *= limit / delta.norm()
    assert delta is not None and start is not None
    return (start + delta).detach(), step + 1


@torch.no_grad()
def key_and_stream(
    model: Any, tokenizer: Any, request: Request, settings: PublicSettings, module: str
) -> tuple[Tensor, Tensor]:
    """The key (d_in,), averaged over template types, and the bare prompt's stream (d,)."""
    means, bare = [], None
    for kind in settings.context_templates:
        ids, _, at = tokenised(tokenizer, [rendered(request, template) for template in kind])
        keys: list[Tensor] = []
        keep = lambda _, args, keys=keys: keys.append(args[0])  # noqa: E731
        handle = model.get_submodule(module).register_forward_pre_hook(keep)
        with added_delta(model.get_submodule(settings.block), at, None) as seen:
            model(input_ids=ids)
        handle.remove()
        means.append(keys[0][torch.arange(len(at)), at].mean(0))
        bare = seen["stream"][0] if bare is None else bare
    assert bare is not None
    return torch.stack(means).mean(0), bare


LayerSolver = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(second moment C (d_in, d_in), keys K (d_in, n), residuals R (d_out, n)) -> Δ (d_out, d_in)."""


def memit_layer(weight: float) -> LayerSolver:
    """Δ = R Kᵀ (λC + K Kᵀ)⁻¹, MEMIT, arXiv:2210.07229, equation 14. weight: λ."""

    def solve(second_moment: Tensor, keys: Tensor, residuals: Tensor) -> Tensor:
        gram = weight * second_moment + keys @ keys.T
        update: Tensor = torch.linalg.solve(gram, keys @ residuals.T).T
        return update

    return solve


def alphaedit_layer(threshold: float, ridge: float) -> LayerSolver:
    """Δ = R Kᵀ P (K Kᵀ P + L I)⁻¹, AlphaEdit, arXiv:2410.02355, equation 13, for a first batch.

    P projects onto the eigenvectors of C whose eigenvalue is below the threshold. ridge: L.
    """

    def solve(second_moment: Tensor, keys: Tensor, residuals: Tensor) -> Tensor:
        vectors, sizes, _ = torch.linalg.svd(second_moment)
        free = vectors[:, sizes < threshold]
        project = free @ free.T
        left = project @ keys @ keys.T + ridge * torch.eye(len(project), dtype=project.dtype)
        update: Tensor = torch.linalg.solve(left, project @ keys @ residuals.T).T
        return update

    return solve


@dataclass(frozen=True, kw_only=True)
class EditedLayer:
    """One layer that is edited."""

    module: str  # name of the module whose input is the key
    weight: Tensor  # a view of its weight, (d_out, d_in)
    second_moment: Tensor  # C, (d_in, d_in)


def layer_updates(
    model: Any,
    tokenizer: Any,
    jobs: Sequence[tuple[Request, PublicSettings]],
    values: Tensor,
    layers: Sequence[EditedLayer],
    solve: LayerSolver,
) -> list[Tensor]:
    """The update (d_out, d_in) float64 of each layer, in rising order.

    Keys are read fact by fact through the whole model; each layer takes its share of the residual.
    The updates stay in the weights; the caller puts the weights back. values: z, (jobs, d).
    """
    updates = []
    for number, layer in enumerate(layers):
        read = [key_and_stream(model, tokenizer, r, own, layer.module) for r, own in jobs]
        keys = torch.stack([key for key, _ in read]).double().T
        left = values - torch.stack([stream for _, stream in read])
        residuals = (left / (len(layers) - number)).double().T
        updates.append(solve(layer.second_moment.double(), keys, residuals))
        layer.weight.data.add_(updates[-1].float())
    return updates
