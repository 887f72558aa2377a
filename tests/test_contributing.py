"""CONTRIBUTING.md names files, folders and commands that exist, and every room of the code."""

import re

from support.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("daemon", "editor", "store")


def test_every_path_is_there() -> None:
    words = re.findall(r"`([\w./-]+)`", TEXT)
    paths = [word for word in words if "/" in word or re.search(r"\.(py|toml|md|txt)$", word)]
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == ["__init__.py"]


def test_the_map_names_every_room_and_no_other() -> None:
    files = [file for name in PACKAGES for file in (ROOT / name).glob("*/__init__.py")]
    rooms = [str(file.parent.relative_to(ROOT)) for file in files]
    named = re.findall(rf"(?m)^((?:{'|'.join(PACKAGES)})/\w+)  ", TEXT)
    assert sorted(named) == sorted(rooms)


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([\w-]+)`", TEXT))
    assert len(targets) > 5
    assert {name for name in targets if f"\n{name}: " not in makefile} == set()
