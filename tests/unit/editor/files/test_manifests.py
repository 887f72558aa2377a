"""A sealed folder shows every change: of its files, of its manifest, of what lies beside them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import (
    verify_folder,
    verify_sealed_folder,
    verify_sizes,
    write_folder,
    write_sealed_folder,
)
from factd.editor.files.manifests import (
    SEAL,
    canonical_json,
    predates_seals,
    read_manifest,
    sealed_json,
)

ABOUT = {"release": 3, "who": "Zoë", "facts": ["a", "b"], "share": 0.1}


def fill(folder: Path) -> None:
    (folder / "adapter").mkdir()
    (folder / "adapter" / "a.bin").write_bytes(b"adapter")
    (folder / "b.bin").write_bytes(b"weights")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sealed_folder(tmp_path / "3", fill, ABOUT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(about=st.dictionaries(st.text(), json_values), data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_seal_holds_and_no_bit_of_what_it_seals_can_tip(
    about: dict[str, object], data: st.DataObject
) -> None:
    content = sealed_json(about)
    assert sealed_json(json.loads(content)) == content
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    try:
        found = json.loads(changed.decode())
        same = isinstance(found, dict) and sealed_json(found) == bytes(changed)
    except ValueError:
        same = False
    assert not same


def test_a_folder_as_it_was_written_is_whole(folder: Path) -> None:
    manifest = verify_sealed_folder(folder)
    assert manifest["sizes"] == {"adapter/a.bin": 7, "b.bin": 7}
    assert verify_sizes(folder) == manifest
    assert {key: manifest[key] for key in ABOUT} == ABOUT


def make_pipe(file: Path) -> None:
    """Replace a file by a named pipe."""
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: (f / "b.bin").write_bytes(b"weightz"), "b.bin: its SHA-256 differs"),
        (lambda f: (f / "b.bin").unlink(), "b.bin: it cannot be read"),
        (lambda f: os.truncate(f / "adapter" / "a.bin", 3), "adapter/a.bin: its SHA-256"),
        (lambda f: (f / "x.pkl").write_bytes(b""), "x.pkl: the manifest does not list it"),
        (lambda f: (f / "adapter" / "x").touch(), "adapter/x: the manifest does not list it"),
        (lambda f: (f / "x").symlink_to("b.bin"), "3/x: the manifest does not list it"),
        (lambda f: (f / "x").symlink_to("adapter"), "3/x: the manifest does not list it"),
        (lambda f: (f / "x").symlink_to("nowhere"), "3/x: the manifest does not list it"),
        (lambda f: make_pipe(f / "b.bin"), "b.bin: it is not a regular file"),
        (
            lambda f: ((f / "b.bin").unlink(), (f / "b.bin").mkdir()),
            "b.bin: it is not a regular file",
        ),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json: it cannot be read"),
        (lambda f: make_pipe(f / "manifest.json"), "manifest.json: it is not a regular file"),
        (lambda f: append(f, b"\n"), "manifest.json: it was changed"),
        (
            lambda f: rewrite(f, sealed_json, facts=["a"]),
            None,
        ),  # a manifest that fits: signatures find it
        (lambda f: rewrite(f, canonical_json, facts=["a"]), "manifest.json: it was changed"),
        (lambda f: without_seal(f), "manifest.json: it has no seal"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "not a readable manifest"),
        (lambda f: (f / "manifest.json").write_text("[]"), "factd did not write this manifest"),
        (lambda f: (f / "manifest.json").write_text("{}"), "factd did not write this manifest"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff"), "not a readable manifest"),
    ],
)
def test_what_is_not_as_it_was_written_is_named(
    change: Callable[[Path], object], named: str | None, folder: Path
) -> None:
    change(folder)
    if named is None:
        verify_sealed_folder(folder)
        return
    with pytest.raises(DamagedArtefact) as found:
        verify_sealed_folder(folder)
    assert named in str(found.value)


def append(folder: Path, more: bytes) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes() + more)


def rewrite(folder: Path, written: Callable[..., bytes], **more: object) -> None:
    (folder / "manifest.json").write_bytes(written(read_manifest(folder) | more))


def without_seal(folder: Path) -> None:
    found = read_manifest(folder)
    del found[SEAL]
    (folder / "manifest.json").write_bytes(canonical_json(found))


def test_sizes_find_what_was_cut_off_and_read_nothing_else(folder: Path) -> None:
    (folder / "b.bin").write_bytes(b"weightz")
    verify_sizes(folder)
    os.truncate(folder / "b.bin", 6)
    with pytest.raises(DamagedArtefact, match=r"b\.bin: it has 6 bytes, the manifest says 7"):
        verify_sizes(folder)
    (folder / "b.bin").unlink()
    with pytest.raises(DamagedArtefact, match=r"b\.bin: it cannot be read"):
        verify_sizes(folder)


def test_a_folder_of_before_is_told_from_one_that_lost_its_seal(
    folder: Path, tmp_path: Path
) -> None:
    old = write_folder(tmp_path / "old", fill, ABOUT)
    assert predates_seals(verify_folder(old))
    verify_sizes(old)
    without_seal(folder)
    assert not predates_seals(read_manifest(folder))


def test_a_folder_that_is_written_again_is_replaced_with_nothing_left_behind(folder: Path) -> None:
    (folder / "stranger").touch()
    (folder.with_name("3.old.tmp")).mkdir()  # of a process that was killed
    write_sealed_folder(folder, fill, ABOUT)
    verify_sealed_folder(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["3"]


def test_a_fill_that_fails_leaves_what_was_there(folder: Path) -> None:
    def fails(part: Path) -> None:
        (part / "b.bin").write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_sealed_folder(folder, fails, ABOUT)
    verify_sealed_folder(folder)
