"""Causal tracing: at which blocks a fact is read from its subject.

ROME, arXiv:2202.05262, section 2: the subject's embeddings are corrupted with noise, then one state of the clean run is put
back at the subject's last token; how much of the right answer's probability returns is the state's indirect effect. Here all
blocks of a fact are traced in one batch, one row per block.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadEdit
from factd.editor.models.hooks import captured_output, moved_output
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import subject_span
from factd.editor.progress import Progress, silent

NOISE = 3.0  # standard deviations of the embeddings
SAMPLES = 4  # draws of the noise per fact
LEAST_DROP = 0.05  # of the answer's probability; facts that survive the noise tell nothing


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Mean indirect effects at the subject's last token, by block."""

    stream: tuple[float, ...]  # the residual stream after the block is restored
    mlp: tuple[float, ...]  # the edited matrix's outputs in a window around the block are
    last: tuple[float, ...]  # the residual stream at the last token of the prompt is
    clean: float  # probability of the answer, mean
    corrupted: float
    facts: int  # traced

    @property
    def best_mlp(self) -> int:
        """The block around which the MLP outputs bring back most."""
        return max(range(len(self.mlp)), key=lambda n: self.mlp[n])


def trace(
    model: EditableModel,
    facts: Sequence[Edit],
    *,
    window: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Trace:
    """Indirect effects over facts that the model knows: prompt, subject and target_true.

    Raises: BadEdit: no fact has a target_true that the noise takes away.
    """
    asked = [fact for fact in facts if fact.target_true]
    found = []
    scale = NOISE * float(model.embed(torch.arange(1, 200, device=model.device)[None]).std())
    for number, fact in enumerate(asked):
        for sample in range(SAMPLES):
            row = _one(model, fact, window, scale, seed=seed * 100_000 + number * SAMPLES + sample)
            found += [row] if row[0, 0] - row[0, 1] > LEAST_DROP else []
        progress("causal tracing", number + 1, len(asked))
    if not found:
        raise BadEdit("no fact could be traced: give facts with a target_true that the model knows")
    clean, corrupted, stream, mlp, last = torch.stack(found).mean(0).unbind(1)
    return Trace(
        stream=tuple((stream - corrupted).tolist()),
        mlp=tuple((mlp - corrupted).tolist()),
        last=tuple((last - corrupted).tolist()),
        clean=float(clean[0]),
        corrupted=float(corrupted[0]),
        facts=len(asked),
    )


@torch.inference_mode()
def _one(model: EditableModel, fact: Edit, window: int, scale: float, *, seed: int) -> Tensor:
    """Probabilities of the answer's first token, (blocks, 5): clean, corrupted, restored stream, MLP window, last token."""
    ids, first, at = subject_span(model.tokenizer, fact.prompt, fact.subject)
    answer = model.tokenizer(f"{fact.prompt.format(fact.subject)} {fact.target_true}")["input_ids"]
    token, blocks = answer[len(ids)], len(model.blocks)
    clean_in = model.embed(torch.tensor([ids], device=model.device))
    noise = torch.randn(
        at + 1 - first, clean_in.shape[-1], generator=torch.Generator().manual_seed(seed)
    )
    noisy_in = clean_in.clone()
    noisy_in[0, first : at + 1] += scale * noise.to(clean_in)
    with ExitStack() as stack:
        mlp = [stack.enter_context(captured_output(model.mlp_out(n))) for n in range(blocks)]
        states = [clean_in]
        for n in range(blocks):
            states.append(model.run(states[-1], n, n + 1))
    written = [out[0].view(1, len(ids), -1)[0, at] for out in mlp]
    runs = {"noisy": noisy_in, "stream": noisy_in, "mlp": noisy_in, "last": noisy_in}
    runs = {name: start.expand(blocks, -1, -1).clone() for name, start in runs.items()}
    for n in range(blocks):
        near = [m for m in range(blocks) if abs(m - n) <= window // 2]
        with moved_output(model.mlp_out(n), _restored(near, at, written[n], len(ids))):
            runs["mlp"] = model.run(runs["mlp"], n, n + 1)
        for name, place in (("noisy", None), ("stream", at), ("last", len(ids) - 1)):
            runs[name] = model.run(runs[name], n, n + 1)
            if place is not None:
                runs[name][n, place] = states[n + 1][0, place]

    def chance(hidden: Tensor) -> Tensor:
        return model.logits(hidden[:, -1]).float().softmax(-1)[:, token].cpu()

    clean = chance(states[-1]).expand(blocks)
    return torch.stack(
        [clean, *(chance(runs[k]) for k in ("noisy", "stream", "mlp", "last"))], dim=1
    )


def _restored(
    rows: Sequence[int], at: int, clean: Tensor, length: int
) -> Callable[[Tensor], Tensor]:
    """A change of a module's output: some rows get the clean value at one position."""

    def move(output: Tensor) -> Tensor:
        found = output.clone()
        found.view(-1, length, output.shape[-1])[list(rows), at] = clean
        return found

    return move
