"""Checksums of files are remembered while the file system reports no change.

A checksum that could be out of date is never used.
"""

import os
from pathlib import Path

import pytest

from factd.editor.errors import DamagedArtefact
from factd.editor.files.checksum_cache import MIN_AGE_NS, ChecksumCache
from factd.editor.files.folders import sha256_file

LATER = 1 << 62  # nanoseconds since 1970


def wrong(sums: ChecksumCache) -> ChecksumCache:
    """Sums that can be told from those of a file that is read."""
    sums.known = dict.fromkeys(sums.known, "remembered")
    return sums


def test_a_file_that_stays_is_read_once_also_by_a_later_process(tmp_path: Path) -> None:
    file, kept = tmp_path / "x", tmp_path / "sums.json"
    file.write_bytes(b"one")
    sums = ChecksumCache(kept, clock=lambda: LATER)
    assert sums.sha256(file) == sha256_file(file)
    assert wrong(sums).sha256(file) == "remembered"
    sums.save()
    assert ChecksumCache(kept).sha256(file) == "remembered"


def test_hard_links_made_and_deleted_leave_it_remembered(tmp_path: Path) -> None:
    file, link = tmp_path / "x", tmp_path / "y"
    file.write_bytes(b"one")
    sums = ChecksumCache(clock=lambda: LATER)
    sums.sha256(file)
    os.link(file, link)
    assert wrong(sums).sha256(link) == "remembered"
    link.unlink()
    assert sums.sha256(file) == "remembered"


def test_what_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"one")
    sums = ChecksumCache(clock=lambda: LATER)
    sums.sha256(file)
    for content, when in ((b"two", 1), (b"longer", 1), (b"longer", 2)):
        file.write_bytes(content)
        os.utime(file, ns=(when, when))
        assert wrong(sums).sha256(file) == sha256_file(file)
    other = tmp_path / "other"  # renamed over it, same size and time
    other.write_bytes(b"LONGER")
    os.utime(other, ns=(2, 2))
    other.rename(file)
    assert wrong(sums).sha256(file) == sha256_file(file)


@pytest.mark.parametrize(("age", "remembered"), [(MIN_AGE_NS - 1, False), (MIN_AGE_NS, True)])
def test_a_file_that_was_changed_just_now_is_not_remembered(
    age: int, remembered: bool, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"one")
    os.utime(file, ns=(LATER, LATER))
    sums = ChecksumCache(clock=lambda: LATER + age)
    assert sums.sha256(file) == sha256_file(file)
    assert bool(sums.known) is remembered


def test_only_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    kept, clock = tmp_path / "sums.json", lambda: LATER
    for name in "ab":
        (tmp_path / name).write_bytes(b"one")
        sums = ChecksumCache(kept, clock)
        sums.sha256(tmp_path / name)
        sums.save()
    assert len(ChecksumCache(kept).known) == 1


def test_kept_sums_with_a_bit_that_tipped_are_not_believed(tmp_path: Path) -> None:
    file, kept = tmp_path / "x", tmp_path / "sums.json"
    file.write_bytes(b"one")
    sums = ChecksumCache(kept, clock=lambda: LATER)
    sums.sha256(file)
    sums.save()
    whole = kept.read_bytes()
    for place in range(len(whole)):
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert ChecksumCache(kept).known == {}, place
    kept.write_bytes(whole)
    assert ChecksumCache(kept).known == sums.known


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedArtefact, match="gone"):
        ChecksumCache().sha256(tmp_path / "gone")
