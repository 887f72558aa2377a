"""The time to write a version of a 40-shard checkpoint, by the shards that an edit touches.

    factd bench shards [--gib 2.0] [--json]

Compared with copying the whole checkpoint. The base is made of random numbers in the benchmarks'
workspace, and deleted afterwards. Its checksums are cached, as they are after the first version of
a base (`first_version_seconds` includes reading all of it). Written files are fsynced; reads come
from the page cache.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from factd.bench.measure import document, timed
from factd.bench.quality.world import WORKSPACE
from factd.editor.deltas.checkpoint import INDEX, fill_checkpoint
from factd.editor.deltas.delta import Delta, LowRank
from factd.editor.files.checksum_cache import ChecksumCache
from factd.editor.files.copying import CopyFile, HardLinks, copy_file
from factd.editor.files.folders import (
    Sha256,
    sha256_file,
    verify_sealed_folder,
    write_sealed_folder,
)
from factd.editor.models.model import fingerprint, weight_files

SHARDS, WIDTH, RANK = 40, 2048, 64
TOUCHED = (1, 4, 16, 40)
TIMES = 3
NAME = "model.layers.{}.mlp.{}.weight"


def run(*, gib: float = 2.0) -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    The fastest of three tries counts, because other work of the machine can only add time.
    """
    with random_base(gib) as base:
        sums = ChecksumCache(clock=lambda: 1 << 62)
        with timed() as first:
            out = write(
                base,
                delta_touching(base, 1, fingerprint(base, sums.sha256)),
                HardLinks(),
                sums.sha256,
            )
        shutil.rmtree(out)
        rows = [row(base, touched, sums) for touched in TOUCHED]
        size = sum(path.stat().st_size for path in weight_files(base))
    each = [r["write s"] / r["shards touched"] for r in rows]
    return document(
        "shards", "cpu", rows,
        shards=SHARDS, base_mib=round(size / 2**20), first_version_seconds=round(first.seconds, 2),
        seconds_per_touched_shard=[round(seconds, 3) for seconds in each],
    )  # fmt: skip


def row(base: Path, touched: int, sums: ChecksumCache) -> dict[str, Any]:
    """The seconds of each way, for an edit that touches so many shards."""
    delta = delta_touching(base, touched, fingerprint(base, sums.sha256))
    linked, whole, checked = [], [], []
    for _ in range(TIMES):
        with timed() as clock:
            out = write(base, delta, HardLinks(), sums.sha256)
        linked.append(clock.seconds)
        sizes = [path.stat().st_size for path in weight_files(out) if path.stat().st_nlink == 1]
        with timed() as clock:
            verify_sealed_folder(out)
        checked.append(clock.seconds)
        shutil.rmtree(out)
        with timed() as clock:
            write(base, delta, copy_file, sha256_file)
        whole.append(clock.seconds)
        shutil.rmtree(out)
    return {
        "shards touched": touched,
        "shards rewritten": len(sizes),
        "MiB written": round(sum(sizes) / 2**20),
        "write s": min(linked),
        "whole copy s": min(whole),
        "of it": min(linked) / min(whole),
        "check before publishing s": min(checked),
    }


def write(base: Path, delta: Delta, bring: CopyFile, sha256: Sha256) -> Path:
    """Write a version as the daemon does. Returns its folder.

    With bring = copy_file and sha256 = sha256_file, it is written as by older versions of factd.
    """

    def fill(folder: Path) -> Mapping[str, Any]:
        return fill_checkpoint(base, delta, folder, bring=bring, sha256=sha256)

    return write_sealed_folder(base.with_name("out"), fill, {}, sha256=sha256)


def delta_touching(base: Path, touched: int, identity: str) -> Delta:
    """The delta of an edit of one matrix in each of so many shards. identity: of the base."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(touched))
    rows = json.loads((base / "config.json").read_text())["intermediate_size"]
    parts = {
        NAME.format(n, "down_proj"): LowRank(draw(WIDTH, RANK), draw(rows, RANK))
        for n in range(touched)
    }
    return Delta(parts=parts, base_fingerprint=identity, batch_id="", method="memit")


@contextmanager
def random_base(gib: float) -> Iterator[Path]:
    """A checkpoint of a Llama's MLP matrices in bfloat16, one layer per shard; deleted later."""
    rows = int(gib * 2**30 / (SHARDS * 3 * WIDTH * 2))
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shards-", dir=WORKSPACE) as name:
        base = Path(name) / "base"
        base.mkdir()
        config = {"model_type": "llama", "hidden_size": WIDTH, "intermediate_size": rows}
        (base / "config.json").write_text(json.dumps(config | {"num_hidden_layers": SHARDS}))
        (base / "tokenizer.json").write_text("{}")
        placed: dict[str, str] = {}
        for layer in range(SHARDS):
            shard = base / f"model-{layer + 1:05}-of-{SHARDS:05}.safetensors"
            matrix = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(layer))
            up, down = matrix.bfloat16(), matrix.T.bfloat16().contiguous()
            tensors = {"gate_proj": up, "up_proj": up.clone(), "down_proj": down}
            named = {NAME.format(layer, kind): tensor for kind, tensor in tensors.items()}
            save_file(named, shard, metadata={"format": "pt"})
            placed |= dict.fromkeys(named, shard.name)
        (base / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
        yield base
