"""The cost of asking thousands of probes, and the model's share of it.

    factd bench probes [--probes 4000] [--json]

Compared with the plain way: every prompt is read three times (target, contrast, greedy answer), and
a batch runs until its last row ends.
"""

from typing import Any

import torch

from factd.bench.measure import ModelTimer, count_operations, document, matrix_rate, timed
from factd.bench.quality.world import BenchWorld, open_world
from factd.editor.models.generation import read
from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring import score
from factd.editor.scoring.score import Probe, answers, batches_by_length, forced_scores
from factd.reference import paths


def three_readings(model: EditableModel, probes: list[Probe]) -> list[str]:
    """Ask probes the plain way. Returns the texts of the greedy answers."""
    forced_scores(model, [(p.prompt, p.target + ".") for p in probes])
    forced_scores(model, [(p.prompt, f"{p.contrast}.") for p in probes if p.contrast])
    rows = [tuple(model.tokenizer(p.prompt)["input_ids"]) for p in probes]
    found = [""] * len(probes)
    stops = score._stops(model)
    for batch in batches_by_length(rows, score.BATCH_TOKENS, equal=True):
        at = read(model, torch.tensor([rows[i] for i in batch]))
        new = at.logits.argmax(-1)[:, None]
        while new.shape[1] < score.NEW_TOKENS and not torch.isin(new, stops).any(-1).all():
            at = read(model, new[:, -1:], at.cache)
            new = torch.cat([new, at.logits.argmax(-1)[:, None]], 1)
        for i, tokens in zip(batch, new.tolist(), strict=True):
            ends = [n for n, token in enumerate(tokens) if token in stops.tolist()]
            found[i] = score._text(model, tokens[: ends[0] + 1 if ends else None])
    return found


def sample_probes(world: BenchWorld, count: int) -> list[Probe]:
    """`count` probes of every kind and language, repeated if there are fewer."""
    probes = list(world.probes())
    return (probes * -(-count // len(probes)))[:count]


def run(*, probes: int = 4000) -> dict[str, Any]:
    """The table."""
    world = open_world(neighbours=2, known_sample=400)
    chosen = sample_probes(world, probes)
    rows = []
    with timed() as clock:
        before = three_readings(world.model, chosen)
    first = clock.seconds
    rows.append(table_row("three readings", first, first, chosen, "float32", None))
    for dtype in ("float32", "bfloat16"):
        model = world.model if dtype == "float32" else load_model(paths.MODEL, dtype=dtype)
        inside = ModelTimer(model)
        with timed() as clock:
            found = answers(model, chosen, terminator=".")
        share = inside.closed() / clock.seconds
        same = sum(a.text == b for a, b in zip(found, before, strict=True)) / len(chosen)
        rows.append(
            table_row("one reading", clock.seconds, first, chosen, dtype, same)
            | {"in the model": share}
        )
    count = count_operations(lambda: answers(world.model, chosen[:200], terminator="."))
    return document(
        "probes",
        "cpu",
        rows,
        gflop_per_probe=round(count / 200 / 1e9, 3),
        matrix_gflops=round(matrix_rate("cpu", torch.float32) / 1e9),
    )


def table_row(
    name: str, seconds: float, first: float, probes: list[Probe], dtype: str, same: float | None
) -> dict[str, Any]:
    """A row of the table."""
    return {
        "way": name,
        "dtype": dtype,
        "probes": len(probes),
        "seconds": seconds,
        "probes per second": len(probes) / seconds,
        "faster": first / seconds,
        "same answers": same,
        "in the model": None,
    }
