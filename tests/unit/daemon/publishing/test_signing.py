"""Signatures of manifests: who made them is proven, and no bit of them can tip unseen."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factd.daemon.backup.restore import without_missing_key
from factd.daemon.config.tables import PublishTable
from factd.daemon.configuration import load_config
from factd.daemon.errors import BadConfig, Refused
from factd.daemon.publishing import signing
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import write_sealed_folder
from support.terminal import run_factd

PEM = serialization.Encoding.PEM


def table(folder: Path) -> PublishTable:
    return PublishTable(signing_key_file=folder / signing.PRIVATE)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    signing.new_key(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def version(keys: Path, tmp_path: Path) -> Path:
    def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"a")

    sign = signing.signer(table(keys))
    return write_sealed_folder(tmp_path / "version", fill, {"release": 1}, sign=sign)


def test_a_signed_version_names_its_key_also_to_who_has_none(keys: Path, version: Path) -> None:
    key = signing.public_key(keys / signing.PUBLIC)
    assert signing.expected_key(table(keys)) == key
    assert signing.signed_by(version, key) == signing.signed_by(version, None) == key


def test_no_bit_of_a_signature_file_can_tip(version: Path) -> None:
    path = version / "manifest.sig.json"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):  # in every byte, and each of the eight as often
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(DamagedArtefact, match=r"manifest\.sig\.json"):
            signing.signed_by(version, None)
    path.write_bytes(whole)
    assert signing.signed_by(version, None)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"public_key": 1, "signature": ""}', "\n"])
def test_what_is_no_signature_is_named(content: str, version: Path) -> None:
    (version / "manifest.sig.json").write_text(content)
    with pytest.raises(DamagedArtefact, match=r"manifest\.sig\.json"):
        signing.signed_by(version, None)


def test_a_manifest_that_was_changed_and_sealed_again_does_not_fit(version: Path) -> None:
    path = version / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"release": 1', b'"release": 2'))
    with pytest.raises(DamagedArtefact, match="does not fit this manifest"):
        signing.signed_by(version, None)


def test_another_key_and_none_are_refused_where_one_is_expected(
    version: Path, tmp_path: Path
) -> None:
    other = signing.new_key(tmp_path / "other")
    with pytest.raises(DamagedArtefact, match=f"not with {other.id}"):
        signing.signed_by(version, other)
    (version / "manifest.sig.json").unlink()
    assert signing.signed_by(version, None) is None
    with pytest.raises(DamagedArtefact, match="is not signed"):
        signing.signed_by(version, other)


def test_openssl_says_the_same(keys: Path, version: Path, tmp_path: Path) -> None:
    """As docs/how-to/publish/publishing.md shows it to who has no factd."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    held = json.loads((version / "manifest.sig.json").read_text())
    (tmp_path / "raw").write_bytes(base64.b64decode(held["signature"]))
    words: list[str | Path] = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin"]
    words += ["-inkey", keys / signing.PUBLIC, "-in", version / "manifest.json"]
    words += ["-sigfile", tmp_path / "raw"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_keys_are_made_once_and_the_private_one_is_its_owners(tmp_path: Path) -> None:
    done = run_factd("keys", "new", "--out", tmp_path / "keys", "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["signing_key_file"]).stat().st_mode & 0o777 == 0o600
    assert signing.public_key(Path(said["public_key_file"])).id == said["key_id"]
    before = Path(said["signing_key_file"]).read_bytes()
    done = run_factd("keys", "new", "--out", tmp_path / "keys")
    assert (done.exit_code, "exists; name another folder with --out" in done.stderr) == (1, True)
    assert Path(said["signing_key_file"]).read_bytes() == before
    with pytest.raises(Refused):
        signing.new_key(tmp_path / "keys")


def test_other_kinds_of_keys_are_refused_with_the_way_out(keys: Path, tmp_path: Path) -> None:
    own = Ed25519PrivateKey.generate()
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    locked = own.private_bytes(PEM, pkcs8, serialization.BestAvailableEncryption(b"x"))
    long = rsa.generate_private_key(65537, 2048)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    path = tmp_path / "key.pem"
    for content in (locked, long.private_bytes(PEM, pkcs8, plain), b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(BadConfig, match="factd keys new"):
            signing.private_key(path)
    for content in (long.public_key().public_bytes(PEM, spki), b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(BadConfig, match=r"key\.pem holds no"):
            signing.public_key(path)
    with pytest.raises(BadConfig, match="cannot be read"):
        signing.signer(PublishTable(signing_key_file=tmp_path / "gone"))


def test_keys_of_two_pairs_are_refused_by_config_check(keys: Path, tmp_path: Path) -> None:
    signing.ready(table(keys))
    signing.new_key(tmp_path / "other")
    both = table(keys).model_copy(update={"public_key_file": tmp_path / "other" / signing.PUBLIC})
    with pytest.raises(BadConfig, match="is not the public key of"):
        signing.ready(both)
    path = tmp_path / "factd.toml"
    model = '[model]\npath = "model"\n[method.memit]\nlayers = [1]\nsecond_moment_weight = 1\n'
    path.write_text(f'{model}[publish]\nsigning_key_file = "keys/none.pem"\n')
    done = run_factd("--config", path, "config", "check")
    assert (done.exit_code, "none.pem cannot be read" in done.stderr) == (1, True), done.stderr


def test_a_restore_signs_only_where_the_key_is_at_its_place(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "factd.toml"
    for name, signs in (("signing-key.pem", True), ("gone.pem", False)):
        path.write_text(
            f'[model]\npath = "m"\n[publish]\nsigning_key_file = "{keys.name}/{name}"\n'
        )
        publish = without_missing_key(load_config(path)).publish
        assert (signing.signer(publish) is not None) is signs


def test_without_a_key_nothing_is_signed_or_expected() -> None:
    assert signing.signer(PublishTable()) is None
    assert signing.expected_key(PublishTable()) is None
