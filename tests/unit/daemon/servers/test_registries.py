"""A Hub repository and an MLflow registry hold the right version after each hand-over.

No version ever stands there half.
"""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.errors import HandoverFailed
from factd.daemon.servers import Report, Server, Version, hub, mlflow
from support.fakes.http import Asked, Reply, serving
from support.fakes.hub import FakeHub, Repository
from support.tiny_versions import made_version

Versions = dict[int, Version]
pytestmark = [  # of MLflow, and of the Hub's library
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    root = tmp_path_factory.mktemp("published")
    return {number: made_version(root, number) for number in range(4)}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_DISABLE_XET", True
    )  # as its variable does
    with FakeHub() as found:
        yield found


@pytest.fixture
def repository(fake: FakeHub) -> Repository:
    return fake.make("org/model")


def branch(fake: FakeHub, folder: Path, **more: Any) -> Server:
    (folder / "token").write_text(fake.token + "\n")
    held: dict[str, Any] = {"kind": "hub", "repository": "org/model", "endpoint": fake.url}
    held |= {"token_file": folder / "token", "load_seconds": 20.0, "answer_seconds": 20.0}
    return hub.connect(hub.Settings(**held | more))


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def held(repository: Repository, revision: str = "main") -> dict[str, bytes]:
    found = repository.files(revision)
    del found[".gitattributes"]
    return found


def test_a_branch_holds_exactly_a_versions_files_and_its_manifest(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    assert not server.asks and not server.stages
    assert server.report() == Report(serving="")
    server.load(versions[1])
    assert held(repository) == files(versions[1].folder)
    assert hashlib.sha256(held(repository)["manifest.json"]).hexdigest() == versions[1].digest
    assert repository.titles == ["initial", f"{versions[1].name}: release 1"]
    assert server.report().serving == versions[1].name


def test_only_what_changed_is_sent_again(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    server.load(versions[1])
    first = set(fake.uploaded)
    server.load(versions[2])
    changed = {
        hashlib.sha256(content).hexdigest()
        for name, content in files(versions[2].folder).items()
        if content != files(versions[1].folder)[name] and len(content) > 1000
    }
    assert set(fake.uploaded) - first == changed
    assert len(changed) == 1  # the weights; the tokenizer is the same


def test_loading_again_makes_no_commit(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    server.load(versions[1])
    before = dict(repository.branches), dict(repository.tags), list(fake.uploaded)
    server.load(versions[1])
    assert (repository.branches, repository.tags, fake.uploaded) == before


def test_going_back_is_one_commit_more_and_sends_nothing(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    for number in (1, 2):
        server.load(versions[number])
    sent = len(fake.uploaded)
    server.load(versions[1])
    assert held(repository) == files(versions[1].folder)
    assert held(repository, versions[2].name) == files(versions[2].folder)
    assert len(repository.titles) == 4 and len(fake.uploaded) == sent
    assert server.report().serving == versions[1].name


def test_what_a_version_has_not_is_gone_but_the_readme_stays(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    old = {"model-00001-of-2.safetensors": (b"old", False), "README.md": (b"ours", False)}
    repository.commit("main", {".gitattributes": (b"", False), **old}, "by hand")
    branch(fake, tmp_path).load(versions[1])
    assert held(repository) == {**files(versions[1].folder), "README.md": b"ours"}


def test_an_upload_that_is_cut_short_never_reaches_the_branch(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    server.load(versions[1])
    before = dict(repository.branches)
    fake.cut = True
    with pytest.raises(HandoverFailed, match="org/model"):
        server.load(versions[2])
    assert repository.branches == before
    assert server.report().serving == versions[1].name
    fake.cut = False
    server.load(versions[2])
    assert server.report().serving == versions[2].name


def test_a_commit_that_holds_something_else_is_seen(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    fake.swapped = True
    server = branch(fake, tmp_path)
    with pytest.raises(HandoverFailed, match=r"has another config\.json"):
        server.load(versions[1])
    assert server.report().serving == ""
    assert repository.tags == {}


def test_a_commit_that_was_overtaken_is_refused(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    """One of ours that was given up, say, and comes after its successor."""
    server = branch(fake, tmp_path)
    late = repository.at("main")
    server.load(versions[1])
    body = b'{"key": "header", "value": {"summary": "x", "parentCommit": "%s"}}' % late.encode()
    assert fake._commit(repository, "main", body).status == 412
    assert held(repository) == files(versions[1].folder)


@pytest.mark.parametrize("create", [False, True])
def test_a_repository_is_created_only_where_that_was_said(
    create: bool, fake: FakeHub, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path, create=create, branch="live")
    if not create:
        with pytest.raises(HandoverFailed, match="404"):
            server.load(versions[1])
        assert fake.repositories == {}
        return
    server.load(versions[1])
    made = fake.repositories["org/model"]
    assert made.private
    assert held(made, "live") == files(versions[1].folder)
    assert held(made, "main") == {}
    assert server.report().serving == versions[1].name


def test_a_branch_may_hold_adapters(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path, form="adapter")
    server.load(versions[1])
    assert held(repository) == files(versions[1].adapter)
    bare = Version(number=0, folder=versions[0].folder, adapter="", digest=versions[0].digest)
    with pytest.raises(HandoverFailed, match=r"add a table \[publish.adapter\]"):
        server.load(bare)


def test_a_wrong_token_is_one_sentence_without_it(
    fake: FakeHub, repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    server = branch(fake, tmp_path)
    fake.token = "hf_an0ther"
    with pytest.raises(HandoverFailed, match="401") as caught:
        server.load(versions[1])
    assert "hf_t0ken" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_hub_that_hangs_is_left_after_its_time(versions: Versions, tmp_path: Path) -> None:
    told = threading.Event()

    def hang(_: Asked) -> Reply:
        told.wait(20)
        return Reply(status=500)

    (tmp_path / "token").write_text("t")
    with serving(hang) as fake:
        table = {"kind": "hub", "repository": "org/model", "token_file": tmp_path / "token"}
        more = {"endpoint": fake.url, "load_seconds": 0.3, "answer_seconds": 0.3}
        server = hub.connect(hub.Settings.model_validate(table | more))
        with pytest.raises(HandoverFailed, match=r"did not answer within 0\.3 s"):
            server.load(versions[1])
        told.set()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'registry.sqlite'}"


def alias(registry: str, model: str, **more: Any) -> mlflow.Registry:
    table: dict[str, Any] = {"kind": "mlflow", "registry": registry, "model": model}
    return mlflow.connect(
        mlflow.Settings(**table | {"create": True, "answer_seconds": 60.0} | more)
    )


def registered(server: mlflow.Registry) -> list[Any]:
    found = server.client.search_model_versions(f"name = '{server.settings.model}'")
    return sorted(found, key=lambda version: int(version.version))


def test_an_alias_stands_at_what_was_loaded_last(registry: str, versions: Versions) -> None:
    server = alias(registry, "facts")
    assert not server.asks and not server.stages
    assert server.report() == Report(serving="")
    for number in (1, 2, 1):
        server.load(versions[number])
        assert server.report().serving == versions[number].name
    assert [v.source for v in registered(server)] == [versions[1].folder, versions[2].folder]
    assert registered(server)[0].tags == {
        "factd.version": versions[1].name,
        "factd.release": "1",
        "factd.digest": versions[1].digest,
    }


def test_a_version_is_registered_once(registry: str, versions: Versions) -> None:
    server = alias(registry, "once")
    for _ in range(3):
        server.load(versions[1])
    assert [str(v.version) for v in registered(server)] == ["1"]


def test_an_alias_may_stand_at_an_adapter(registry: str, versions: Versions) -> None:
    server = alias(registry, "adapters", form="adapter", alias="live")
    server.load(versions[2])
    assert registered(server)[0].source == versions[2].adapter
    assert server.report().serving == versions[2].name
    assert alias(registry, "adapters").report().serving == ""  # another alias


def test_a_model_is_created_only_where_that_was_said(registry: str, versions: Versions) -> None:
    server = alias(registry, "nobody made this", create=False)
    with pytest.raises(HandoverFailed, match="nobody made this"):
        server.load(versions[1])
    assert server.report().serving == ""


def test_a_version_of_somebody_else_has_no_name_of_ours(registry: str, versions: Versions) -> None:
    server = alias(registry, "shared")
    server.load(versions[1])
    theirs = server.client.create_model_version("shared", "/somewhere/else")
    server.client.set_registered_model_alias("shared", "production", theirs.version)
    assert server.report().serving == "version 2"
    server.load(versions[1])
    assert server.report().serving == versions[1].name
