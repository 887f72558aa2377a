"""Published checkpoints and adapters give the answers that the checks measured.

transformers and PEFT load them in a fresh process, as users do.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import factd.daemon.publishers
from factd.daemon.plugins import load_plugin
from factd.daemon.publishers import Outgoing
from factd.editor import EditableModel, applied, load_model
from factd.editor.deltas.delta import Delta, Dense, LowRank
from factd.editor.deltas.reload import FIXED_IDS, fixed_logits
from factd.editor.errors import NotEditable
from factd.editor.models.model import weight_files
from factd.reference import tiny
from support.consumer import Job, Seen, consumed

FAMILIES = ("llama", "gpt2", "qwen2", "falcon")
CASES = list(product(FAMILIES, ("float32", "bfloat16"), ("one file", "shards")))
EXACT = 1e-5  # of logits, absolute, in float32


@dataclass(frozen=True)
class Published:
    """One base with what was published over it, and what the candidate said when it was checked."""

    base: Path
    checked: Tensor  # logits of the fixed ids with the delta in place, at the checkpoint's dtype
    checked_heads: Tensor  # the same with head corrections
    told: Mapping[str, Any]  # of the adapter
    jobs: Mapping[str, Job]


def base_of(folder: Path, family: str, dtype: str, layout: str) -> Path:
    """A tiny checkpoint of a dtype, in one file or in shards."""
    made = folder / family
    if not made.exists():
        tiny.make(family, made)
    out = folder / f"{family}-{dtype}-{layout.replace(' ', '-')}"
    model = AutoModelForCausalLM.from_pretrained(made, dtype=dtype)
    model.save_pretrained(out, max_shard_size="100KB" if layout == "shards" else "1GB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(made / name, out / name)
    assert (len(weight_files(out)) > 1) is (layout == "shards")
    return out


def delta_of(model: EditableModel) -> Delta:
    """An update of three blocks a tenth as large as the weights: two of low rank, one dense."""
    parts: dict[str, LowRank | Dense] = {}
    for layer, rank in ((1, 3), (2, 7), (3, 20)):
        rows, columns = model.mlp_out(layer).weight.shape
        draw = torch.Generator().manual_seed(layer)
        left, right = (torch.randn(size, rank, generator=draw) for size in (rows, columns))
        part = LowRank(0.05 / rank**0.5 * left, right)
        parts[model.parameter(layer)] = Dense(part.matrix()) if layer == 3 else part
    return Delta(parts=parts, base_fingerprint=model.fingerprint, batch_id="", method="memit")


def with_head_bias(model: EditableModel, delta: Delta) -> Delta:
    """The delta with corrections of one block's heads, folded into a bias."""
    width = model.weight(0).shape[0]
    bias = Dense(0.5 * torch.randn(width, generator=torch.Generator().manual_seed(9)))
    return replace(delta, parts={**delta.parts, model.head_bias(1): bias})


def written(
    name: str, base: Path, delta: Delta, folder: Path, **settings: Any
) -> Mapping[str, Any]:
    """What a publisher, configured as in a file, writes of a delta."""
    module, own = load_plugin(
        factd.daemon.publishers, f"publish.{name}", {"kind": name, **settings}
    )
    folder.mkdir()
    found: Mapping[str, Any] = module.write(
        own, Outgoing(number=1, base=base, delta=delta, made=None), folder
    )
    return found


def publish(folder: Path, family: str, dtype: str, layout: str) -> Published:
    base = base_of(folder, family, dtype, layout)
    model = load_model(base, dtype=None)
    delta = delta_of(model)
    both = with_head_bias(model, delta)
    out = {
        kind: folder / f"{base.name}-{kind}" for kind in ("checkpoint", "heads", "adapter", "small")
    }
    written("checkpoint", base, delta, out["checkpoint"])
    written("checkpoint", base, both, out["heads"])
    told = written("adapter", base, delta, out["adapter"])
    written("adapter", base, delta, out["small"], dtype="bfloat16")
    with pytest.raises(NotEditable, match="switch the corrections off"):
        written("adapter", base, both, folder / f"{base.name}-refused")
    with applied(model, delta):
        checked = fixed_logits(model)
    with applied(model, both):
        checked_heads = fixed_logits(model)
    at = str(base)
    jobs = {
        "base": Job(at, dtype),
        "checkpoint": Job(str(out["checkpoint"]), dtype),
        "heads": Job(str(out["heads"]), dtype),
        "adapter": Job(at, "float32", str(out["adapter"])),
        "merged": Job(at, "float32", str(out["adapter"]), merge=True),
        "small": Job(at, "bfloat16", str(out["small"])),
    }
    return Published(base, checked, checked_heads, told, jobs)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Published]:
    folder = tmp_path_factory.mktemp("published")
    return {case: publish(folder, *case) for case in CASES}


@pytest.fixture(scope="module")
def seen(
    published: dict[tuple[str, ...], Published], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, ...], dict[str, Seen]]:
    """All of it, by one consumer."""
    jobs = [job for case in published.values() for job in case.jobs.values()]
    found = iter(consumed(jobs, FIXED_IDS, tmp_path_factory.mktemp("consumer")))
    return {name: {kind: next(found) for kind in case.jobs} for name, case in published.items()}


def apart(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max())


def share(one: Tensor, exact: Tensor) -> float:
    return float((one - exact).norm() / exact.norm())


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_checkpoint_gives_the_logits_of_the_candidate_to_the_bit(
    case: tuple[str, ...],
    published: dict[tuple[str, ...], Published],
    seen: dict[tuple[str, ...], dict[str, Seen]],
) -> None:
    expected, found = published[case], seen[case]
    for kind in ("base", "checkpoint", "heads"):
        assert found[kind].problems == []
    assert torch.equal(found["checkpoint"].logits, expected.checked)
    assert torch.equal(found["heads"].logits, expected.checked_heads)
    for other in (found["base"].logits, expected.checked_heads):  # the control
        assert apart(other, expected.checked) > 0.1


@pytest.mark.parametrize("case", [c for c in CASES if c[1] == "float32"], ids="-".join)
def test_an_adapter_over_a_float32_base_gives_the_logits_of_the_candidate(
    case: tuple[str, ...],
    published: dict[tuple[str, ...], Published],
    seen: dict[tuple[str, ...], dict[str, Seen]],
) -> None:
    expected, found = published[case], seen[case]
    assert found["adapter"].adapted == list(expected.told["modules"])
    assert apart(found["adapter"].logits, expected.checked) <= EXACT
    assert apart(found["merged"].logits, expected.checked) <= EXACT
    assert expected.told["error"] < 1e-6
    assert expected.told["rank"] == expected.told["written_rank"] == 20


@pytest.mark.parametrize("case", [c for c in CASES if c[1] == "bfloat16"], ids="-".join)
def test_in_bfloat16_an_adapter_is_as_near_to_the_exact_update_as_a_checkpoint(
    case: tuple[str, ...],
    published: dict[tuple[str, ...], Published],
    seen: dict[tuple[str, ...], dict[str, Seen]],
) -> None:
    expected, found = published[case], seen[case]
    exact = found["adapter"].logits  # float32 over the base in float32: nothing was rounded
    checkpoint, adapter, base = (
        share(one, exact) for one in (expected.checked, found["small"].logits, found["base"].logits)
    )
    assert 1e-3 < checkpoint < 0.05  # what rounding to bfloat16 costs
    assert adapter <= 1.5 * checkpoint
    assert base > 5 * checkpoint  # the control


def test_qwen2_with_head_corrections_is_a_llama(
    published: dict[tuple[str, ...], Published],
) -> None:
    from factd.editor.deltas.checkpoint import read_config

    for (family, *_), case in published.items():
        found = read_config(Path(case.jobs["heads"].folder))["model_type"]
        assert found == ("llama" if family == "qwen2" else family)
