"""The speed of the editor on a GPU, on models of real shapes with random weights.

    python -m factd.bench.speed.gpu [--shapes gptj-6b llama-3-8b] [--edits 1000 10000] [--json FILE]

Weights are random and never leave the device. With random weights nothing converges, so every value
takes all of its evaluations: the worst case. Needs only torch, transformers and this repository.
The tests run `--shapes tiny --device cpu --edits 2`.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoTokenizer

from factd.bench.measure import (
    count_operations,
    document,
    matrix_rate,
    peak_mib,
    print_document,
    timed,
)
from factd.editor import plugins
from factd.editor.edits import Edit
from factd.editor.methods import memit
from factd.editor.models.model import EditableModel, dry_run
from factd.editor.moments.corpus import SelfGenerated
from factd.editor.moments.moments import build_moments
from factd.editor.scoring.score import Probe, answers
from factd.editor.solving.chunks import KeyChunks
from factd.editor.solving.keys import read_keys
from factd.editor.solving.layers import LayerSystem
from factd.editor.solving.rows import key_prompts
from factd.editor.values.problem import ValueSettings
from factd.editor.values.values import values_of_groups

ROOT = Path(__file__).resolve().parents[2]
PREFIXES = (
    "The report was long",
    "Therefore Emma and her friend met",
    "Because of the rain, the road was closed",
    "I think that Paul bought the map",
    "You may have heard of the old bridge",
)
TINY = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
}
# name -> model type, configuration, edited layers
SHAPES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "tiny": ("llama", TINY | {"num_key_value_heads": 2, "vocab_size": 6144}, (0, 1)),
    "gptj-6b": (
        "gptj",
        {"n_embd": 4096, "n_layer": 28, "n_head": 16, "vocab_size": 50400},
        (3, 4, 5, 6, 7, 8),
    ),
    "llama-3-8b": (
        "llama",
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
        (4, 5, 6, 7, 8),
    ),
}


@dataclass(frozen=True)
class TimedModel:
    """A model with random weights, and what its timings need."""

    shape: str
    model: EditableModel
    layers: tuple[int, ...]
    settings: ValueSettings
    rate: float  # FLOP/s of a matrix product on the device

    def row(self, stage: str, count: int, seconds: float, flop: float | None) -> dict[str, Any]:
        """A row of the table. count: items; flop: operations of the whole stage."""
        share = flop / seconds / self.rate if flop else None
        return {
            "shape": self.shape,
            "stage": stage,
            "items": count,
            "seconds": seconds,
            "ms each": seconds / count * 1000,
            "TFLOP each": flop / count / 1e12 if flop else None,
            "share of the attainable": share,
            "peak GiB": peak_mib(self.model.device) / 1024,
        }


def random_model(shape: str, device: str) -> TimedModel:
    """A model of a shape with random weights, in bfloat16, on the device."""
    kind, values, layers = SHAPES[shape]
    config = CONFIG_MAPPING[kind](**{**values, "bos_token_id": 0, "eos_token_id": 0})
    family = plugins.load("factd.editor.families", kind).FAMILY
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # transformers
            config, dtype=torch.bfloat16, attn_implementation=family.attention
        )
    model.requires_grad_(False).eval()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "reference" / "model", local_files_only=True)
    found = EditableModel(
        model=model, tokenizer=tokenizer, family=family, path=ROOT, fingerprint=f"random-{shape}"
    )
    if shape == "tiny":  # in bfloat16 a large model differs by more than the check allows
        dry_run(found)
    settings = ValueSettings(z_layer=layers[-1], loss_threshold=0.0, templates={"en": PREFIXES})
    return TimedModel(
        shape,
        found,
        layers,
        settings,
        matrix_rate(device, torch.bfloat16, size=4096 if device != "cpu" else 256),
    )


def edits_of(count: int) -> list[Edit]:
    """Different facts of usual lengths."""
    places = ("Croatia", "New Zealand", "Bosnia and Herzegovina", "Lake Victoria", "Estonia")
    asked = ("The currency of {} is the", "The capital of {} is", "{} is a member of the")
    targets = ("euro", "dollar", "European Union", "pound")
    return [
        Edit(
            prompt=asked[n % 3],
            subject=f"{places[n % 5]} {n}",
            target_new=targets[n % 4],
            target_true="franc",
        )
        for n in range(count)
    ]


def stages(bench: TimedModel, count: int) -> Iterator[dict[str, Any]]:
    """The rows of values, keys, solve and probes for a number of facts."""
    model, settings, edits = bench.model, bench.settings, edits_of(count)
    few = edits[: min(64, count)]
    groups = [[edit] for edit in edits]
    flop = count_operations(lambda: list(values_of_groups(model, [[e] for e in few], settings)))
    with timed(model.device) as clock:
        found = dict(values_of_groups(model, groups, settings))
    yield bench.row("values, 25 evaluations", count, clock.seconds, flop / len(few) * count)
    rows, _ = key_prompts(edits, split=False)
    with timed(model.device) as clock:
        now = read_keys(
            model, rows, settings.templates, layer=bench.layers[0], z_layer=settings.z_layer
        )
    yield bench.row("keys of a layer", count, clock.seconds, None)
    z = torch.cat([found[n] for n in range(count)])
    width = now.keys.shape[1]
    eye = torch.eye(width, device=model.device).double()
    chunks = KeyChunks.of(now.keys.T, (z - now.stream).T)
    system = LayerSystem(chunks=chunks, second_moment=eye, fixed_keys=eye[:, :0])
    with timed(model.device) as clock:
        memit.solver(15000.0)(system)
    yield bench.row("solve of a layer, float64", count, clock.seconds, None)
    asked = [
        Probe(kind="edit", language="en", prompt=e.prompt.format(e.subject), target=e.target_new,
              accepted=(e.target_new,), contrast=e.target_true)
        for e in edits
    ]  # fmt: skip
    with timed(model.device) as clock:
        answers(model, asked)
    yield bench.row("probes, 32 new tokens", count, clock.seconds, None)


def moments(bench: TimedModel, tokens: int) -> dict[str, Any]:
    """The row of the second moments of all edited layers."""
    with timed(bench.model.device) as clock:
        build_moments(bench.model, bench.layers, tokens=tokens, source=SelfGenerated())
    return bench.row("second moments, a token", tokens, clock.seconds, None)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes", nargs="*", default=["gptj-6b", "llama-3-8b"], choices=list(SHAPES)
    )
    parser.add_argument("--edits", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--tokens", type=int, default=28_672)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def written() -> dict[str, Any]:
        found = document("gpu", options.device, rows)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found

    for shape in options.shapes:
        bench = random_model(shape, options.device)
        for count in options.edits:
            for row in stages(bench, count):
                rows.append(row | {"matrix TFLOP/s": bench.rate / 1e12})
                written()  # keeps the measurements if the machine's time runs out
        rows.append(moments(bench, options.tokens) | {"matrix TFLOP/s": bench.rate / 1e12})
        del bench
        if options.device != "cpu":
            torch.cuda.empty_cache()
    print_document(written(), as_json=False)


if __name__ == "__main__":
    main()
