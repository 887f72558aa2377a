"""A backup is taken while others write, and a restored backup is a whole factd.

Damage anywhere in a backup is found.
"""

import io
import json
import re
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.backup import archive
from factd.daemon.errors import BadBackup, Refused
from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import MANIFEST
from factd.store.database import migrate
from factd.store.database.dump import DumpFailed, dump, program_path
from support.databases import CONFIGS, SERVER, postgresql
from support.terminal import FEED, Operator, update
from support.world import jsonl

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Two releases: both facts of the feed, then one of them taken back."""
    found = Operator(tmp_path_factory.mktemp("operator"))
    config = found.folder / "factd.toml"
    quick = {"v_num_grad_steps = 20": "v_num_grad_steps = 2", "_tokens = 3000": "_tokens = 600"}
    for slow, fast in quick.items():
        config.write_text(config.read_text().replace(slow, fast))
    found.ingest(FEED)
    found("edit", "--publish")
    fact = found("facts", "list", "--status", "active")[0]["id"]
    found("rollback", "--fact", fact, "--why", "test")
    return found


@pytest.fixture(scope="module")
def tar(operator: Operator) -> Path:
    path = operator.folder / "backups" / "one.tar"
    operator("backup", str(path))
    return path


def at(operator: Operator, folder: Path) -> Operator:
    """The same person at another configuration."""
    found = Operator.__new__(Operator)
    found.folder, found.runner = folder, operator.runner
    return found


def history(operator: Operator) -> dict[str, Any]:
    """What must be the same after a restore."""
    return {
        "facts": operator("facts", "list", "--limit", "100"),
        "releases": operator("releases", "list"),
        "live": operator("status")["live"],
        "published": operator("status")["published"],
        "quarantine": operator("quarantine", "list"),
    }


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_a_restored_factd_is_the_same_and_rolls_back(
    form: str, operator: Operator, tar: Path, tmp_path: Path
) -> None:
    source = tar
    if form == "folder":
        source = tmp_path / "backup"
        operator("backup", str(source))
    there = at(operator, tmp_path / "there")
    found = operator("restore", str(source), "--to", str(there.folder))
    assert (found["live"], found["versions"], found["differ"]) == (2, [1, 2], [])
    assert history(there) == history(operator)
    for version in ("versions/1", "versions/2", "current"):
        assert there.published(version) == operator.published(version)
    there("db", "check")
    there("rollback", "--to", "1", "--why", "test")
    assert there("status")["live"]["number"] == 1
    assert there.published() == operator.published("versions/1")
    assert operator("status")["live"]["number"] == 2


def test_a_backup_of_a_backup_tells_the_same(operator: Operator, tar: Path, tmp_path: Path) -> None:
    there = at(operator, tmp_path / "there")
    operator("restore", str(tar), "--to", str(there.folder))
    there("backup", str(tmp_path / "again.tar"))
    first, again = (archive.verify(path)["files"] for path in (tar, tmp_path / "again.tar"))
    kept = [name for name in first if name.startswith(("state/", "published/"))]
    assert len(kept) > 5
    assert {name: again[name] for name in kept} == {name: first[name] for name in kept}


def test_what_was_committed_before_a_backup_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "factd.sqlite"
    url = f"sqlite:///{path}"
    migrate.upgrade(url)
    writer = Writer(path)
    writer.start()
    try:
        for number in range(5):
            writer.wait_for(20 * (number + 1))
            before = writer.committed
            folder = tmp_path / str(number)
            folder.mkdir()
            with sqlite3.connect(dump(url, folder)) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                rows = [row[0] for row in copy.execute("SELECT id FROM audit ORDER BY id")]
            assert len(rows) >= before
            assert rows == list(range(1, len(rows) + 1))  # a prefix of what was written, no holes
    finally:
        writer.stop()
    assert writer.committed > 100


class Writer(threading.Thread):
    """Commits row after row until it is stopped."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.committed = path, 0
        self.more, self.done = threading.Condition(), threading.Event()

    def run(self) -> None:
        with sqlite3.connect(self.path, isolation_level=None, timeout=30) as connection:
            while not self.done.is_set():
                row = "INSERT INTO audit (at, who, what, why) VALUES ('2026-01-01', 'a', 'b', 'c')"
                connection.execute(row)
                with self.more:
                    self.committed += 1
                    self.more.notify_all()
        connection.close()

    def wait_for(self, count: int) -> None:
        with self.more:
            assert self.more.wait_for(lambda: self.committed >= count, timeout=30)

    def stop(self) -> None:
        self.done.set()
        self.join(30)


def test_a_flipped_bit_anywhere_is_found(operator: Operator, tar: Path, tmp_path: Path) -> None:
    assert operator("backup", "verify", str(tar))["ok"]
    content = tar.read_bytes()
    with tarfile.open(tar) as held:
        places = {m.name: m.offset_data + m.size // 2 for m in held if m.size}
    for name, place in places.items():
        damaged = tmp_path / "damaged.tar"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        said = operator.refused("backup", "verify", str(damaged))
        assert name in said or name == MANIFEST, said
        assert "use another backup" in said


def test_a_damaged_backup_is_not_restored(operator: Operator, tar: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(tar.read_bytes()[:-20_000])
    operator.refused("restore", str(damaged), "--to", str(tmp_path / "there"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.tar"]


def test_a_file_more_or_less_is_found(tar: Path, tmp_path: Path) -> None:
    archive.extract(tar, tmp_path / "open")
    manifest = json.dumps(archive.verify(tar)).encode()
    (tmp_path / "open" / MANIFEST).write_bytes(manifest)
    archive.verify(tmp_path / "open")
    (tmp_path / "open" / "more").write_text("x")
    with pytest.raises(BadBackup, match="more is not in the manifest"):
        archive.verify(tmp_path / "open")
    (tmp_path / "open" / "more").unlink()
    (tmp_path / "open" / "config" / "factd.toml").unlink()
    with pytest.raises(BadBackup, match=r"factd.toml is missing"):
        archive.verify(tmp_path / "open")


def members() -> Iterator[tarfile.TarInfo]:
    for name in ("../outside", "/outside", "a/../../outside"):
        yield tarfile.TarInfo(name)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        found = tarfile.TarInfo("link")
        found.type, found.linkname = kind, "/etc/passwd"
        yield found


@pytest.mark.parametrize("member", list(members()), ids=lambda m: f"{m.name}-{m.type!r}")
def test_a_file_that_would_leave_its_folder_is_refused(
    member: tarfile.TarInfo, tmp_path: Path
) -> None:
    path = tmp_path / "in" / "bad.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(BadBackup, match="is not a plain file"):
        archive.extract(path, tmp_path / "in" / "there")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["bad.tar"]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 1000])
def test_what_is_no_backup_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(BadBackup):
        archive.verify(tmp_path / "x.tar")


def test_a_folder_in_use_is_not_restored_into(
    operator: Operator, tar: Path, tmp_path: Path
) -> None:
    said = operator.refused("restore", str(tar), "--to", str(operator.folder))
    assert "holds a factd; stop it" in said
    (tmp_path / "x").write_text("x")
    assert "is not empty" in operator.refused("restore", str(tar), "--to", str(tmp_path))


def test_a_backup_replaces_nothing_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    with pytest.raises(Refused, match="was not written"):
        archive.write_archive(target, {"a": tmp_path / "is-not-there"}, {})
    assert list(tmp_path.iterdir()) == []
    target.write_text("mine")
    with pytest.raises(Refused, match="exists; name another"):
        archive.write_archive(target, {}, {})
    assert target.read_text() == "mine"


def test_an_older_schema_is_upgraded(operator: Operator, tmp_path: Path) -> None:
    before = at(operator, tmp_path / "before")
    operator("backup", str(tmp_path / "x.tar"))
    operator("restore", str(tmp_path / "x.tar"), "--to", str(before.folder))
    migrate.downgrade(f"sqlite:///{before.folder / 'state' / 'factd.sqlite'}", "0003")
    files = archive.extract(tmp_path / "x.tar", tmp_path / "open")["files"]
    about = {k: v for k, v in archive.verify(tmp_path / "x.tar").items() if k != "files"}
    (before.folder / "state" / "factd.sqlite").rename(
        tmp_path / "open" / "database" / "factd.sqlite"
    )
    sources = {name: tmp_path / "open" / name for name in files}
    archive.write_archive(tmp_path / "old.tar", sources, about | {"schema": "0003"})
    there = at(operator, tmp_path / "there")
    found = operator("restore", str(tmp_path / "old.tar"), "--to", str(there.folder))
    assert (found["was"], found["schema"]) == ("0003", migrate.head())
    assert history(there) == history(operator)


def test_a_newer_schema_is_refused(operator: Operator, tar: Path, tmp_path: Path) -> None:
    files = archive.extract(tar, tmp_path / "open")["files"]
    about = {k: v for k, v in archive.verify(tar).items() if k != "files"} | {"schema": "9999"}
    sources = {name: tmp_path / "open" / name for name in files}
    archive.write_archive(tmp_path / "new.tar", sources, about)
    said = operator.refused("restore", str(tmp_path / "new.tar"), "--to", str(tmp_path / "there"))
    assert "the schema 9999, which this factd does not know" in said


def test_secrets_stay_out_and_are_named(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "here")
    config = operator.folder / "factd.toml"
    secret = operator.folder / "secrets" / "hook"
    secret.parent.mkdir()
    secret.write_text("hunter2-in-a-file")
    table = (
        '[sources.register]\nkind = "sql_table"\n'
        'url = "postgresql://me:hunter2@db/x"\ntable = "t"\n'
    )
    hook = '[sources.hook]\nkind = "webhook"\nsecret_file = "secrets/hook"\n'
    config.write_text(config.read_text() + table + hook)
    found = operator("backup", str(tmp_path / "x"))
    assert found["masked"]
    held = b"".join(p.read_bytes() for p in (tmp_path / "x").rglob("*") if p.is_file())
    assert b"hunter2" not in held
    assert archive.verify(tmp_path / "x")["left_out"] == ["sources.hook.secret_file"]


def test_a_workspace_is_in_it_where_asked(operator: Operator, tmp_path: Path) -> None:
    operator("backup", str(tmp_path / "with.tar"), "--with-workspace")
    operator("backup", str(tmp_path / "without.tar"))
    with_it, without = (
        {n.split("/")[2] for n in archive.verify(tmp_path / f)["files"] if "/workspace/" in n}
        for f in ("with.tar", "without.tar")
    )
    assert "values" in with_it
    assert without == set()


def test_without_the_base_model_everything_but_versions_is_restored(
    operator: Operator, tar: Path, tmp_path: Path
) -> None:
    files = archive.extract(tar, tmp_path / "open")["files"]
    config = tmp_path / "open" / "config" / "factd.toml"
    about = {k: v for k, v in archive.verify(tar).items() if k != "files"}
    model = about["model"]
    config.write_text(config.read_text().replace(model, "/nowhere"))
    sources = {name: tmp_path / "open" / name for name in files}
    archive.write_archive(tmp_path / "x.tar", sources, about | {"model": "/nowhere"})
    there = at(operator, tmp_path / "there")
    found = operator("restore", str(tmp_path / "x.tar"), "--to", str(there.folder))
    assert found["without"] == "the base model is not at /nowhere"
    assert there("status")["live"]["number"] == 2
    restored = there.folder / "factd.toml"
    restored.write_text(restored.read_text().replace("/nowhere", model))
    there("releases", "publish", "2")  # as the command said; the release is live already
    assert there.published() == operator.published("versions/2")
    there("releases", "publish", "1")
    assert sha256_file(there.folder / "published" / "current" / WEIGHTS) == operator.published(
        "versions/1"
    )


def test_absolute_paths_and_the_environment_do_not_lead_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Operator(tmp_path / "here")
    config = operator.folder / "factd.toml"
    elsewhere = tmp_path / "elsewhere"
    config.write_text(
        f'state_dir = "{elsewhere}/state"\n{config.read_text()}'
        f'[publish]\npath = "{elsewhere}/out"\n'
    )
    operator("db", "upgrade")
    operator("ingest", str(jsonl(tmp_path / "x.jsonl", [update("Kagle Clahal", "Chile", None)])))
    operator("backup", str(tmp_path / "x.tar"))
    there = at(operator, tmp_path / "there")
    operator("restore", str(tmp_path / "x.tar"), "--to", str(there.folder))
    assert there("facts", "list") == operator("facts", "list")
    shown = there("config", "show")
    assert shown["state_dir"]["value"] == str(there.folder / "state")
    assert shown["publish.path"]["value"] == str(there.folder / "published")
    monkeypatch.setenv("FACTD_STATE_DIR", str(elsewhere / "state"))
    said = operator.refused("restore", str(tmp_path / "x.tar"), "--to", str(tmp_path / "again"))
    assert "unset FACTD_STATE_DIR" in said


def test_a_postgresql_factd_is_dumped_and_restored(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "here")
    config = operator.folder / "factd.toml"
    config.write_text(
        re.sub(r'url = ".*"', f'url = "{postgresql(CONFIGS[-1])}"', config.read_text())
    )
    operator("db", "upgrade")
    operator.ingest(FEED)
    operator("backup", str(tmp_path / "x.tar"))
    assert "database/factd.dump" in archive.verify(tmp_path / "x.tar")["files"]
    assert "--database" in operator.refused(
        "restore", str(tmp_path / "x.tar"), "--to", str(tmp_path / "there")
    )
    empty = CONFIGS[-1].stash[SERVER].new(template="template1")
    words = ("restore", str(tmp_path / "x.tar"), "--to", str(tmp_path / "there"))
    operator(*words, "--database", empty)
    there = at(operator, tmp_path / "there")
    assert empty in (there.folder / "factd.toml").read_text()
    assert history(there) == history(operator)
    assert len(there("facts", "list")) == len(FEED)
    again = ("restore", str(tmp_path / "x.tar"), "--to", str(tmp_path / "again"))
    assert "createdb" in operator.refused(*again, "--database", empty)


def test_a_server_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    assert program_path("pg_dump_of_the_future") is None
    with pytest.raises(DumpFailed, match=r"pg_dump ended with 1: .*refused"):
        dump("postgresql://factd@127.0.0.1:1/none", tmp_path)
