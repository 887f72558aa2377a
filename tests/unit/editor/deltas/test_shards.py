"""Edits by byte offsets write only touched shards and give the bytes of a whole rewrite."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from factd.editor.deltas.checkpoint import fill_checkpoint, write_checkpoint
from factd.editor.deltas.delta import Delta, Dense, LowRank, Part, fold
from factd.editor.deltas.shards import byte_ranges, write_shard
from factd.editor.errors import DamagedArtefact, WrongModel
from factd.editor.files.checksum_cache import ChecksumCache
from factd.editor.files.copying import CopyFile, HardLinks, copy_file
from factd.editor.files.folders import (
    Sha256,
    sha256_file,
    verify_folder,
    verify_sealed_folder,
    write_sealed_folder,
)
from factd.editor.models.model import fingerprint
from factd.reference import tiny

LAYER = "model.layers.17.mlp.down_proj.weight"
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 40 shards in bfloat16, as save_pretrained cuts it."""
    folder = tmp_path_factory.mktemp("base")
    whole = tiny.make("llama", folder / "whole", num_hidden_layers=38)
    model = AutoModelForCausalLM.from_pretrained(whole, dtype="auto").bfloat16()
    model.save_pretrained(folder / "cut", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "cut" / name).write_bytes((whole / name).read_bytes())
    return folder / "cut"


def shards(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.glob("*.safetensors"))}


def delta_for(base: Path, *names: str, seed: int = 0) -> Delta:
    random = torch.Generator().manual_seed(seed)
    shapes = {n: t.shape for path in shards(base).values() for n, t in load_file(path).items()}
    parts = {
        name: LowRank(
            torch.randn(shapes[name][0], 2, generator=random),
            torch.randn(shapes[name][1], 2, generator=random),
        )
        for name in names
    }
    return Delta(parts=parts, base_fingerprint=fingerprint(base), batch_id="", method="memit")


def version(
    base: Path,
    delta: Delta | None,
    out: Path,
    sha256: Sha256 = sha256_file,
    bring: CopyFile | None = None,
) -> Path:
    """Written as a published version is."""

    def fill(folder: Path) -> Mapping[str, object]:
        return fill_checkpoint(base, delta, folder, bring=bring or HardLinks(), sha256=sha256)

    return write_sealed_folder(out, fill, {}, sha256=sha256)


def from_scratch(source: Path, parts: Mapping[str, Part], out: Path) -> Path:
    """A file with every tensor read, folded and written again."""
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    tensors = {n: fold(t, parts[n]) if n in parts else t for n, t in load_file(source).items()}
    save_file(tensors, out, metadata=metadata)
    return out


def test_one_changed_layer_of_forty_shards_rewrites_just_the_shards_it_is_in(
    base: Path, tmp_path: Path
) -> None:
    assert len(shards(base)) == 40
    delta = delta_for(base, LAYER)
    home = json.loads((base / "model.safetensors.index.json").read_text())["weight_map"][LAYER]
    before = {path: sha256_file(path) for path in base.iterdir()}
    out = shards(version(base, delta, tmp_path / "out"))
    written = {n for n, path in shards(base).items() if not path.samefile(out[n])}
    assert written == {home}
    for name, path in shards(base).items():
        expected = from_scratch(path, delta.parts, tmp_path / name)
        assert out[name].read_bytes() == expected.read_bytes(), name
    assert sha256_file(out[home]) != sha256_file(base / home)
    assert {path: sha256_file(path) for path in base.iterdir()} == before


def tip(path: Path) -> None:
    """Another bit, as a disk loses it: neither size nor time tell."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["tokenizer.json", "the touched shard", "copied"])
def test_what_is_copied_from_the_base_is_read_whatever_sums_are_known(
    name: str, base: Path, tmp_path: Path
) -> None:
    own = write_checkpoint(base, None, tmp_path / "base")
    sums, delta = ChecksumCache(clock=lambda: 1 << 62), delta_for(own, LAYER)
    version(own, delta, tmp_path / "1", sums.sha256)
    index = json.loads((own / "model.safetensors.index.json").read_text())["weight_map"]
    named = {"the touched shard": index[LAYER], "copied": min(shards(own))}
    tip(own / named.get(name, name))
    with pytest.raises(DamagedArtefact, match="the file changed since it was first read"):
        version(own, delta, tmp_path / "2", sums.sha256, copy_file if name == "copied" else None)


def test_with_known_sums_untouched_shards_are_not_read_and_verifying_reads_them(
    base: Path, tmp_path: Path
) -> None:
    own = write_checkpoint(base, None, tmp_path / "base")
    sums = ChecksumCache(clock=lambda: 1 << 62)  # long after the files were written
    first = version(own, delta_for(own, LAYER), tmp_path / "1", sums.sha256)
    verify_sealed_folder(first)
    delta, shard = delta_for(own, LAYER, seed=1), min(shards(own).values())
    tip(shard)
    second = version(own, delta, tmp_path / "2", sums.sha256)
    for folder in (first, second):
        with pytest.raises(DamagedArtefact, match=shard.name):
            verify_sealed_folder(folder)
    with pytest.raises(WrongModel):  # the control: without sums every byte is read
        version(own, delta, tmp_path / "3")


@given(
    touched=st.lists(st.integers(0, 7), unique=True),
    rank=st.integers(0, 3),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=8, max_size=8),
    seed=st.integers(0, 1 << 30),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_overwriting_at_offsets_gives_the_bytes_of_a_whole_rewrite(
    touched: list[int], rank: int, dtypes: list[torch.dtype], seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    sizes = [(1 + n, 7 - n or 1) for n in range(8)]

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    tensors = {f"t{n}": draw(*sizes[n]).to(dtypes[n]) for n in range(8)}
    parts: dict[str, Part] = {
        f"t{n}": LowRank(draw(sizes[n][0], rank), draw(sizes[n][1], rank))
        if rank
        else Dense(draw(*sizes[n]))
        for n in touched
    }
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name) / "a.safetensors", Path(name) / "b.safetensors"
        save_file(tensors, source, metadata={"format": "pt"})
        write_shard(source, parts, out)
        expected = from_scratch(source, parts, Path(name) / "c.safetensors")
        assert out.read_bytes() == expected.read_bytes()


def test_bytes_between_and_before_tensors_stay_as_the_file_has_them(tmp_path: Path) -> None:
    """Another writer's order and padding are kept: nothing but the tensor's own bytes changes."""
    a, b = torch.ones(2, 3), torch.full((4,), 2.0).bfloat16()
    header = {
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
    }
    text = json.dumps(header).encode().ljust(400)
    content = (400).to_bytes(8, "little") + text + b.view(torch.uint8).numpy().tobytes()
    source, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(content + a.numpy().tobytes())
    write_shard(source, {"a": Dense(torch.ones(2, 3))}, out)
    assert out.read_bytes() == content + (a + 1).numpy().tobytes()
    assert byte_ranges(out) == byte_ranges(source)
    with pytest.raises(DamagedArtefact, match="differs in size from the delta"):
        write_shard(source, {"b": Dense(torch.ones(3, 4))}, out)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\x01" + b"\0" * 7 + b"{"]
)
def test_a_file_without_a_header_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedArtefact, match="no valid safetensors header"):
        byte_ranges(tmp_path / "x")


def test_what_users_write_is_their_own_to_overwrite(base: Path, tmp_path: Path) -> None:
    out = write_checkpoint(base, delta_for(base, LAYER), tmp_path / "out")
    before = {path: sha256_file(path) for path in base.iterdir()}
    assert not any(path.samefile(out / path.name) for path in base.iterdir())
    for path in shards(out).values():
        save_file({"x": torch.zeros(1)}, path)
    assert {path: sha256_file(path) for path in base.iterdir()} == before


def test_weights_behind_symbolic_links_are_linked_themselves(base: Path, tmp_path: Path) -> None:
    """As a Hugging Face cache has them."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in base.iterdir():
        (snapshot / path.name).symlink_to(path)
    out = version(snapshot, None, tmp_path / "out")
    assert not any(path.is_symlink() for path in out.iterdir())
    assert all(path.samefile(out / name) for name, path in shards(base).items())
    assert not (out / "config.json").samefile(base / "config.json")  # small: people change it


def test_a_linked_file_keeps_its_mode_and_others_are_readable_by_all(
    base: Path, tmp_path: Path
) -> None:
    own = write_checkpoint(base, None, tmp_path / "base")
    for path in own.iterdir():
        path.chmod(0o600)
    out = version(own, delta_for(own, LAYER), tmp_path / "out")
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    linked = {name for name, path in shards(own).items() if path.samefile(out / name)}
    assert len(linked) == 39
    assert {name for name, mode in modes.items() if mode == 0o600} == linked
    assert {mode for name, mode in modes.items() if name not in linked} == {0o644}


def test_a_changed_configuration_is_never_written_through_to_the_base(tmp_path: Path) -> None:
    base = tiny.make("llama", tmp_path / "base")
    bias = Dense(torch.ones(32))
    parts = {"model.layers.1.self_attn.o_proj.bias": bias}
    delta = Delta(parts=parts, base_fingerprint=fingerprint(base), batch_id="", method="memat")
    before = {path: sha256_file(path) for path in base.iterdir()}
    out = version(base, delta, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["attention_bias"] is True
    assert "model.layers.1.self_attn.o_proj.bias" in load_file(out / "model.safetensors")
    assert {path: sha256_file(path) for path in base.iterdir()} == before


def test_what_a_version_says_of_itself_is_not_taken_over_from_a_base_that_is_one(
    base: Path, tmp_path: Path
) -> None:
    first = version(base, delta_for(base, LAYER), tmp_path / "first")
    own = {"manifest.sig.json", "report.json", "proof.json"}
    for name in own:
        (first / name).write_text("{}")
    out = version(first, None, tmp_path / "out")
    assert {path.name for path in first.iterdir()} - {path.name for path in out.iterdir()} == own


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than tmp_path."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=shm) as name:
        yield Path(name)


def test_across_file_systems_weights_are_copied(base: Path, elsewhere: Path) -> None:
    delta, links = delta_for(base, LAYER), HardLinks()
    out = version(base, delta, elsewhere / "out", bring=links)
    assert len(links.refused) == 39
    assert set(links.refused.values()) == {"Invalid cross-device link"}
    assert {path.stat().st_nlink for path in out.iterdir()} == {1}
    assert verify_sealed_folder(out)["delta_id"] == delta.id
    plain = write_checkpoint(base, delta, elsewhere / "plain")
    assert verify_folder(plain)["files"] == verify_folder(out)["files"]
