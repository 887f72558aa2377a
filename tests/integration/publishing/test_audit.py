"""Audits: damaged files are repaired from the delta or rolled back, and a sound release passes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import sealed_json
from support.terminal import FEED, Operator


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    found = Operator(tmp_path)
    found.ingest(FEED)
    found("edit", "--publish")
    yield found


def weights(operator: Operator, number: int = 1) -> Path:
    return operator.folder / "published" / "versions" / str(number) / "model.safetensors"


def update_manifest(file: Path) -> None:
    """Write the file's hash into its manifest."""
    manifest = file.parent / "manifest.json"
    held = json.loads(manifest.read_text())
    held["files"][file.name] = sha256_file(file)
    manifest.write_bytes(sealed_json(held))


def overwrite(file: Path, change: float) -> None:
    """Change the weights and the manifest with them, so that hashes do not show it."""
    tensors = {
        name: tensor * change if "mlp" in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})
    update_manifest(file)


def test_a_sound_release_passes(operator: Operator) -> None:
    found = operator("audit")
    assert (found["outcome"], found["action"], found["lost"]) == ("passed", "", [])
    checks = {m["check"] for m in found["measurements"]}
    assert {"retention", "drift"} <= checks
    kl = [m["value"] for m in found["measurements"] if (m["check"], m["metric"]) == ("drift", "kl")]
    assert kl[0] > 0


def test_a_file_that_is_not_what_its_manifest_says_is_written_again(operator: Operator) -> None:
    before = sha256_file(weights(operator))
    weights(operator).write_bytes(weights(operator).read_bytes()[:-100])
    found = operator("audit")
    assert found["outcome"] == "repaired"
    assert "SHA-256 differs" in found["reasons"][0]
    assert sha256_file(weights(operator)) == before
    assert operator("status")["live"]["number"] == 1


def test_a_fact_that_the_files_have_lost_is_written_again(operator: Operator) -> None:
    before = sha256_file(weights(operator))
    base = operator.folder / "published" / "versions" / "1"
    overwrite(base / "model.safetensors", 0.0)
    found = operator("audit")
    assert found["outcome"] == "repaired"
    assert found["action"] == "the version was written again from its delta"
    assert sha256_file(weights(operator)) == before


def test_nan_weights_are_found(operator: Operator) -> None:
    file = weights(operator)
    tensors = load_file(file)
    name = next(name for name in tensors if "mlp" in name)
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, file, metadata={"format": "pt"})
    update_manifest(file)
    assert operator("audit")["outcome"] == "repaired"


def test_an_audit_that_fails_rolls_back_and_freezes(operator: Operator) -> None:
    operator("rollback", "--fact", operator("status")["live"]["facts"][0], "--why", "x")
    config = operator.folder / "factd.toml"
    config.write_text(config.read_text().replace("kl = false", "kl = {most = 0.0000001}", 1))
    done = operator.invoke("audit", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and "failed" in done.stderr
    assert (found["release"], found["outcome"]) == (2, "failed")
    assert found["action"] == "rolled back to release 1 and frozen"
    status = operator("status")
    assert status["live"]["number"] == status["published"] == 1
    assert "audit of release 2 failed" in status["frozen"]


def test_without_a_version_before_it_nothing_is_rolled_back(operator: Operator) -> None:
    config = operator.folder / "factd.toml"
    config.write_text(config.read_text().replace("kl = false", "kl = {most = 0.0000001}", 1))
    found = json.loads(operator.invoke("audit", "--json").stdout)
    assert found["outcome"] == "failed"
    assert found["action"] == "nothing: no version before it lies ready"


def test_the_base_alone_is_not_audited(tmp_path: Path) -> None:
    assert "only the base model is live" in Operator(tmp_path / "new").refused("audit")
