"""A published version holds, bit for bit, the files that were written.

A difference is found before publishing, later on the same disk, and on other machines.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import App, open_app
from factd.daemon.errors import PublishFailed
from factd.daemon.publishing import signing
from factd.daemon.publishing import verify as verifying
from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import canonical_json, read_manifest
from support.paths import ROOT
from support.terminal import FEED, MODEL, Operator, run_factd


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Releases 1 and 2, signed; 2 is live. No test leaves it otherwise."""
    folder = tmp_path_factory.mktemp("place")
    operator = Operator(folder)
    signing.new_key(folder / "keys")
    path = folder / "factd.toml"
    path.write_text(path.read_text() + '\n[publish]\nsigning_key_file = "keys/signing-key.pem"\n')
    for number, row in enumerate(FEED):
        operator.ingest([row], f"{number}.jsonl")
        operator("edit", "--publish")
    return operator


@pytest.fixture
def opened(place: Operator) -> Iterator[App]:
    found = open_app(place.folder / "factd.toml")
    yield found
    found.ledger.store.close()


@pytest.fixture
def copy(place: Operator, tmp_path: Path) -> Path:
    """The published folder, copied to where nothing else of factd is."""
    return shutil.copytree(place.folder / "published", tmp_path / "published", symlinks=True)


def verify(folder: Path, *words: Any, number: int = 2) -> Any:
    return run_factd("releases", "verify", number, "--folder", folder, *words)


def flip(path: Path) -> None:
    """One bit in the middle; under a new inode, for the file may be the base's own."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.unlink()
    path.write_bytes(content)


def test_a_version_says_what_it_is_made_of(place: Operator) -> None:
    folder = place.folder / "published" / "versions" / "2"
    manifest = read_manifest(folder)
    assert manifest["release"] == 2
    assert len(manifest["facts"]) == 2
    assert len(manifest["base_fingerprint"]) == len(manifest["delta_id"]) == 64
    assert manifest["report"] == {
        "path": "report.json",
        "sha256": sha256_file(folder / "report.json"),
    }
    assert json.loads((folder / "report.json").read_text())["measurements"]
    assert (
        set(manifest["files"])
        == set(manifest["sizes"])
        == {path.name for path in folder.iterdir() if not path.name.startswith("manifest.")}
    )


def test_one_bit_in_any_file_is_found_by_verify_and_before_publishing(
    place: Operator, opened: App, copy: Path
) -> None:
    folder = place.folder / "published" / "versions" / "2"
    names = sorted(path.name for path in folder.iterdir())
    assert {"config.json", "manifest.json", "manifest.sig.json", "model.safetensors"} < set(names)
    for name in names:
        flip(copy / "versions" / "2" / name)
        done = verify(copy)
        assert done.exit_code == 1 and len(done.stderr.splitlines()) == 1, name
        assert f"versions/2/{name}" in done.stderr
        shutil.copyfile(folder / name, copy / "versions" / "2" / name)
        kept = {path: path.read_bytes() for path in (folder / name, folder / "manifest.json")}
        flip(folder / name)
        with pytest.raises(PublishFailed, match=f"versions/2/{name}"):
            verifying.verify_version(opened.versions, 2)
        assert not opened.versions.has(2), "it counts as damaged"
        (folder / "manifest.damaged.json").unlink()
        for path, content in kept.items():
            path.write_bytes(content)
        verifying.verify_version(opened.versions, 2)
    assert verify(copy).exit_code == 0


def test_a_version_that_was_damaged_never_becomes_current_and_is_written_again(
    place: Operator,
) -> None:
    before = place.published("versions/2")
    place("rollback", "--to", "1", "--why", "x")
    place("unfreeze")
    weights = place.folder / "published" / "versions" / "2" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1)
    said = place.refused("rollback", "--to", "2", "--why", "x")
    assert "model.safetensors: it has" in said and "`factd releases write 2`" in said
    assert (place.folder / "published" / "current").readlink().name == "1"
    assert place("status")["live"]["number"] == 1
    assert place("status")["frozen"] is None
    place("releases", "write", "2")
    place("rollback", "--to", "2", "--why", "x")
    assert place.published() == place.published("versions/2") == before
    assert "release 2" not in place.invoke("releases", "verify", "2").stderr


def test_a_rollback_reads_no_weights_and_publishing_does(place: Operator) -> None:
    weights = place.folder / "published" / "versions" / "1" / "model.safetensors"
    whole = weights.read_bytes()
    flip(weights)
    place("rollback", "--to", "1", "--why", "x")
    place("rollback", "--to", "2", "--why", "x")
    place("unfreeze")
    assert "model.safetensors: its SHA-256 differs" in place.refused("releases", "publish", "1")
    assert place("status")["live"]["number"] == 2
    assert place("releases", "write", "1")["ok"]
    assert weights.read_bytes() == whole


def test_who_signed_is_said_and_another_key_is_refused(
    place: Operator, copy: Path, tmp_path: Path
) -> None:
    own = place.folder / "keys" / "public-key.pem"
    id_ = signing.public_key(own).id
    done = verify(copy, "--public-key", own, "--json")
    assert json.loads(done.stdout)["signed_by"] == id_
    assert f"signed with the key {id_}" in verify(copy).stdout
    assert f"signed with the key {id_}" in place.invoke("releases", "verify", "1").stdout
    signing.new_key(tmp_path / "other")
    other = tmp_path / "other" / "public-key.pem"
    done = verify(copy, "--public-key", other)
    assert (done.exit_code, "not with" in done.stderr) == (1, True)
    (copy / "versions" / "2" / "manifest.sig.json").unlink()
    assert verify(copy).stdout.strip().endswith("unsigned")
    done = verify(copy, "--public-key", own)
    assert (done.exit_code, "manifest.sig.json: is missing" in done.stderr) == (1, True)
    done = verify(copy, "--public-key", tmp_path / "none.pem")
    assert (done.exit_code, "none.pem cannot be read" in done.stderr) == (1, True)


def test_a_version_that_was_copied_alone_is_verified_and_only_as_itself(copy: Path) -> None:
    alone = copy / "versions" / "2"
    assert verify(alone).exit_code == 0
    assert "of release 2, not of 1" in verify(alone, number=1).stderr
    assert "manifest.json: it cannot be read" in verify(copy, number=7).stderr
    (alone / "evil.pkl").write_bytes(b"")
    assert "evil.pkl: the manifest does not list it" in verify(alone).stderr


def test_a_version_of_an_earlier_factd_is_said_to_be_one_and_can_be_rolled_back_to(
    place: Operator, copy: Path
) -> None:
    folder = place.folder / "published" / "versions" / "1"
    old = {k: v for k, v in read_manifest(folder).items() if k not in ("seal", "sizes", "report")}
    for path in (folder, copy / "versions" / "1"):
        (path / "manifest.json").write_bytes(canonical_json(old))
        (path / "manifest.sig.json").unlink()
    said = verify(copy, number=1).stderr
    assert "an earlier factd wrote it" in said and "`factd releases write 1`" in said
    place("rollback", "--to", "1", "--why", "x")
    assert verifying.damage(folder, 1) == ""  # the audit's look
    place("rollback", "--to", "2", "--why", "x")
    place("unfreeze")
    assert place("releases", "write", "1")["signed_by"]
    assert verifying.damage(folder, 1) == ""


def test_the_base_is_not_read_again_for_each_version_and_shares_its_files(place: Operator) -> None:
    published = place.folder / "published"
    place("releases", "write", "0")
    weights = published / "versions" / "0" / "model.safetensors"
    if MODEL.stat().st_dev == published.stat().st_dev:
        assert weights.samefile(MODEL / "model.safetensors")
    kept = json.loads((published / "base-sums.json").read_text())["sums"]
    assert sha256_file(MODEL / "model.safetensors") in kept.values()


CODE = """
import sys
sys.argv[0] = "factd"
from factd.daemon.cli.main import cli
try:
    cli()
finally:
    loaded = {"torch", "transformers", "safetensors"} & set(sys.modules)
    assert not loaded, loaded
"""


def test_verifying_needs_no_configuration_no_database_and_no_torch(
    copy: Path, tmp_path: Path
) -> None:
    root = ROOT
    words = ["releases", "verify", "2", "--folder", str(copy), "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
