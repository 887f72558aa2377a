"""Causal tracing: at which blocks a model recalls a fact from its subject.

ROME, arXiv:2202.05262, section 2. The subject's embeddings are corrupted with noise. Then one state
of the clean run is restored at the subject's last token. The indirect effect of that state is how
much of the right answer's probability returns. Here all blocks of a fact are traced together, with
one row per block. Below the block where something is restored, a row is the corrupted run, which is
computed once; so a row is run from its own block on only.
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
LEAST_DROP = 0.05  # of the answer's probability; a fact that survives the noise shows nothing


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Mean indirect effects by block, in probability (-1 to 1), by what is restored."""

    stream: tuple[float, ...]  # the residual stream after the block, at the subject's last token
    mlp: tuple[float, ...]  # the MLP outputs in a window around the block, at the same token
    last: tuple[float, ...]  # the residual stream after the block, at the prompt's last token
    clean: float  # mean probability of the answer, without noise
    corrupted: float  # with noise on the subject
    facts: int  # number of facts traced

    @property
    def best_stream(self) -> int:
        """The block behind which the restored stream at the subject has the largest effect.

        From there on the model reads the fact at the prompt's last token.
        """
        return max(range(len(self.stream)), key=lambda n: self.stream[n])

    @property
    def best_mlp(self) -> int:
        """The block around which restored MLP outputs have the largest effect."""
        return max(range(len(self.mlp)), key=lambda n: self.mlp[n])


def trace(
    model: EditableModel,
    facts: Sequence[Edit],
    *,
    window: int = 3,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress = silent,
) -> Trace:
    """Mean indirect effects over facts that the model knows.

    facts: their prompt, subject and target_true are used; facts without target_true are skipped.
    window: number of blocks whose MLP outputs are restored together. samples: draws of the noise
    for each fact.

    Raises: BadEdit: the noise lowers the probability of no fact's target_true enough.
    """
    known = [fact for fact in facts if fact.target_true]
    rows = []
    scale = NOISE * float(model.embed(torch.arange(1, 200, device=model.device)[None]).std())
    progress("causal tracing", 0, len(known))
    for number, fact in enumerate(known):
        for sample in range(samples):
            row = _one(model, fact, window, scale, seed=seed * 100_000 + number * samples + sample)
            rows += [row] if row[0, 0] - row[0, 1] > LEAST_DROP else []
        progress("causal tracing", number + 1, len(known))
    if not rows:
        raise BadEdit("no fact could be traced: give facts with a target_true that the model knows")
    clean, corrupted, stream, mlp, last = torch.stack(rows).mean(0).unbind(1)
    return Trace(
        stream=tuple((stream - corrupted).tolist()),
        mlp=tuple((mlp - corrupted).tolist()),
        last=tuple((last - corrupted).tolist()),
        clean=float(clean[0]),
        corrupted=float(corrupted[0]),
        facts=len(known),
    )


@torch.inference_mode()
def _one(model: EditableModel, fact: Edit, window: int, scale: float, *, seed: int) -> Tensor:
    """Probabilities of the answer's first token, (blocks, 5) float32, for one draw of the noise.

    The columns: clean, corrupted, restored stream, restored MLP window, restored last token.
    """
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
    noisy = [noisy_in]
    runs = dict.fromkeys(("stream", "mlp", "last"), noisy_in[:0])  # a row for each block so far
    for n in range(blocks):
        runs["mlp"] = _joined(runs["mlp"], noisy[n], min(blocks, n + window // 2 + 1))
        near = [m for m in range(blocks) if abs(m - n) <= window // 2]
        with moved_output(model.mlp_out(n), _restored(near, at, written[n], len(ids))):
            runs["mlp"] = model.run(runs["mlp"], n, n + 1)
        noisy.append(model.run(noisy[n], n, n + 1))
        for name, place in (("stream", at), ("last", len(ids) - 1)):
            before = model.run(runs[name], n, n + 1) if n else runs[name]
            runs[name] = _joined(before, noisy[n + 1], n + 1)
            runs[name][n, place] = states[n + 1][0, place]

    def probability(hidden: Tensor) -> Tensor:
        return model.logits(hidden[:, -1]).float().softmax(-1)[:, token].cpu()

    same = [probability(hidden).expand(blocks) for hidden in (states[-1], noisy[-1])]
    return torch.stack([*same, *(probability(runs[k]) for k in ("stream", "mlp", "last"))], dim=1)


def _joined(rows: Tensor, row: Tensor, count: int) -> Tensor:
    """Rows (n, length, d) with copies of a row (1, length, d) behind them, `count` in all."""
    return torch.cat([rows, row.expand(count - len(rows), -1, -1)])


def _restored(
    rows: Sequence[int], at: int, clean: Tensor, length: int
) -> Callable[[Tensor], Tensor]:
    """A change of a module's output that puts the clean value into some rows at one position."""

    def restore(output: Tensor) -> Tensor:
        changed = output.clone()
        changed.view(-1, length, output.shape[-1])[list(rows), at] = clean
        return changed

    return restore
