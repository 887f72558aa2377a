"""Fakes of vLLM and SGLang with a tiny real model serve what was loaded last.

The tests check what the engines serve after each call, and how they go wrong.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.errors import HandoverFailed
from factd.daemon.servers import Server, Version, sglang, vllm
from support.fakes.engine import FakeEngine
from support.fakes.serving_engines import FakeSglang, FakeVllm
from support.tiny_versions import MODEL, PROMPTS, TOKENS, answer, answers, made_version

Versions = dict[int, Version]
Connected = Callable[..., Server]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    root = tmp_path_factory.mktemp("published")
    return {number: made_version(root, number) for number in range(4)}


KINDS = ("vllm", "vllm reload", "sglang", "sglang adapter")
STAGING = ("vllm", "sglang adapter")


def fake(kind: str, **more: Any) -> FakeEngine:
    return (FakeVllm if kind.startswith("vllm") else FakeSglang)(MODEL, **more)


def connected(engine: FakeEngine, kind: str, **more: Any) -> Server:
    held: dict[str, Any] = {"kind": kind.split()[0], "url": engine.url, "answer_seconds": 5.0}
    held |= {"load_seconds": 5.0}
    if kind.endswith("reload"):
        held |= {"mode": "reload", "model": "base"}
    if kind.startswith("sglang"):
        held |= {"mode": "adapter" if kind.endswith("adapter") else "weights", "model": "base"}
    module: Any = vllm if kind.startswith("vllm") else sglang
    found: Server = module.connect(module.Settings(**held | more))
    return found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(kind: str) -> Iterator[FakeEngine]:
    with fake(kind) as found:
        yield found


@pytest.fixture
def server(engine: FakeEngine, kind: str) -> Iterator[Server]:
    found = connected(engine, kind)
    yield found
    found.close()


def said(server: Server, staged: Version | None = None) -> list[str]:
    return [server.complete(prompt, tokens=TOKENS, staged=staged).text for prompt in PROMPTS]


def test_versions_answer_differently_or_nothing_here_would_show_anything(
    versions: Versions,
) -> None:
    texts = [tuple(answers(version)) for version in versions.values()]
    assert len(set(texts)) == len(versions)
    assert all(len(set(pair)) == len(versions) for pair in zip(*texts, strict=True))


def test_what_is_loaded_is_answered_and_reported(
    server: Server, kind: str, versions: Versions
) -> None:
    assert server.report().serving in ("", "default")
    for number in (1, 2, 1, 0, 3):
        server.load(versions[number])
        assert server.report().serving == versions[number].name
        assert said(server) == answers(versions[number])


def test_what_was_answered_before_is_not_answered_after(server: Server, versions: Versions) -> None:
    """Every question is in the prefix cache when the version changes."""
    server.load(versions[1])
    assert said(server) == said(server) == answers(versions[1])
    server.load(versions[2])
    assert said(server) == answers(versions[2])


def test_a_load_is_made_again_without_harm(
    server: Server, engine: FakeEngine, versions: Versions
) -> None:
    server.load(versions[1])
    before = len(engine.loaded)
    server.load(versions[1])
    assert len(engine.loaded) == before + 1  # it acts: what a server says and serves may differ
    assert said(server) == answers(versions[1])
    assert server.report().serving == versions[1].name


def test_log_probabilities_are_those_of_our_own_forward_pass(
    server: Server, versions: Versions
) -> None:
    server.load(versions[2])
    found = server.complete(PROMPTS[0], tokens=TOKENS)
    assert found.logprobs == pytest.approx(answer(versions[2].folder, PROMPTS[0])[1], abs=1e-5)


@pytest.mark.parametrize("kind", STAGING, indirect=True)
def test_a_staged_version_is_asked_while_users_get_the_one_before(
    server: Server, kind: str, versions: Versions
) -> None:
    assert server.stages
    server.load(versions[1])
    server.stage(versions[2])
    server.stage(versions[2])
    assert said(server, versions[2]) == answers(versions[2])
    assert said(server) == answers(versions[1])
    assert server.report().serving == versions[1].name
    assert set(server.report().loaded) == {versions[1].name, versions[2].name}


@pytest.mark.parametrize("kind", STAGING, indirect=True)
def test_a_dropped_version_is_gone_and_dropping_it_again_is_nothing(
    server: Server, kind: str, versions: Versions
) -> None:
    server.load(versions[1])
    server.stage(versions[2])
    server.drop(versions[2])
    server.drop(versions[2])
    assert server.report().loaded == (versions[1].name,)
    with pytest.raises(HandoverFailed, match="does not exist"):
        said(server, versions[2])
    assert said(server) == answers(versions[1])


@pytest.mark.parametrize("kind", ["vllm reload", "sglang"], indirect=True)
def test_an_engine_with_one_set_of_weights_stages_nothing(
    server: Server, kind: str, versions: Versions
) -> None:
    assert not server.stages
    server.drop(versions[1])
    with pytest.raises(HandoverFailed, match="one version at a time"):
        server.stage(versions[1])


@pytest.mark.parametrize("kind", STAGING, indirect=True)
def test_a_version_that_is_written_again_at_its_place_is_another_one(
    server: Server, kind: str, tmp_path: Path
) -> None:
    first = made_version(tmp_path, 1, seed=1)
    server.load(first)
    second = made_version(tmp_path, 1, seed=9)
    assert (first.adapter, first.number) == (second.adapter, second.number)
    assert first.name != second.name
    server.drop(first)
    server.load(second)
    assert server.report().serving == second.name
    assert server.report().loaded == (second.name,)


@pytest.mark.parametrize("kind", STAGING, indirect=True)
def test_a_version_without_an_adapter_says_what_to_switch_on(
    server: Server, kind: str, versions: Versions
) -> None:
    server.load(versions[1])
    bare = Version(number=0, folder=versions[0].folder, adapter="", digest=versions[0].digest)
    with pytest.raises(HandoverFailed, match=r"add a table \[publish.adapter\]"):
        server.load(bare)
    assert said(server) == answers(versions[1])


@pytest.mark.parametrize("kind", STAGING, indirect=True)
def test_adapters_that_are_none_of_ours_are_left_alone(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    engine.adapters["theirs"] = engine.weights
    server.load(versions[1])
    assert server.report().loaded == (versions[1].name,)
    assert "theirs" in engine.adapters


def test_wrong_weights_under_the_right_name_are_seen_by_asking(
    server: Server, engine: FakeEngine, versions: Versions
) -> None:
    server.load(versions[1])
    for how in ("old weights", "wrong weights", "half loaded"):
        engine.misbehave(how, instead=instead(engine, versions[3]))
        server.load(versions[2])
        assert server.report().serving == versions[2].name
        assert said(server) != answers(versions[2])
        engine.behave()
        server.drop(versions[2])
        server.load(versions[1])
        assert said(server) == answers(versions[1])


def instead(engine: FakeEngine, version: Version) -> Path:
    """A version's files, of the form that an engine is handed."""
    adapters = any("lora" in asked.path for asked in engine.asked)
    return Path(version.adapter if adapters else version.folder)


def test_an_engine_that_loads_another_version_and_says_so_is_refused_or_reports_another(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    server.load(versions[1])
    engine.misbehave("wrong version", instead=instead(engine, versions[3]))
    if kind in STAGING:
        with pytest.raises(HandoverFailed, match=r"lists .* at .*3/adapter, not at .*2/adapter"):
            server.load(versions[2])
        assert said(server) == answers(versions[1])  # it was seen before users got it
    else:
        server.load(versions[2])
        assert (server.report().serving == versions[2].name) == (kind == "vllm reload")
        assert said(server) == answers(versions[3])


@pytest.mark.parametrize("kind", ["vllm reload", "sglang"], indirect=True)
def test_a_prefix_cache_that_does_not_forget_is_seen_by_asking_what_was_asked_before(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    server.load(versions[1])
    engine.misbehave("stale cache")
    said(server)
    server.load(versions[2])
    assert said(server) == answers(versions[1])  # what users get who ask this
    fresh = "A question that nobody asked"
    assert server.complete(fresh, tokens=TOKENS).text == answer(versions[2].folder, fresh)[0]


def test_an_engine_that_refuses_says_why_and_keeps_what_it_had(
    server: Server, engine: FakeEngine, versions: Versions
) -> None:
    server.load(versions[1])
    engine.misbehave("500")
    with pytest.raises(HandoverFailed, match="answered 500: EngineCore encountered an issue"):
        server.load(versions[2])
    assert said(server) == answers(versions[1])
    engine.behave()
    server.load(versions[2])
    assert said(server) == answers(versions[2])


def test_an_engine_that_hangs_is_left_after_its_time(kind: str, versions: Versions) -> None:
    with fake(kind) as engine:
        server = connected(engine, kind, load_seconds=0.3)
        engine.misbehave("hang")
        with pytest.raises(HandoverFailed, match=r"timed out|too long"):
            server.load(versions[1])
        engine.release()
        server.close()


def test_an_engine_that_ends_in_the_middle_is_loaded_again(
    server: Server, engine: FakeEngine, versions: Versions
) -> None:
    server.load(versions[1])
    engine.misbehave("crash")
    with pytest.raises(HandoverFailed):
        server.load(versions[2])
    engine.behave()
    assert server.report().serving in ("", "default")  # it is as it was started
    server.load(versions[1])
    assert said(server) == answers(versions[1])


def test_an_engine_that_is_away_is_a_failure_of_every_call(
    server: Server, engine: FakeEngine, versions: Versions
) -> None:
    engine.misbehave("away")
    calls: list[Callable[[], Any]] = [
        lambda: server.load(versions[1]),
        server.report,
        lambda: server.complete(PROMPTS[0], tokens=2),
    ]
    for call in calls:
        with pytest.raises(HandoverFailed):
            call()
    engine.release()
    server.load(versions[1])
    assert said(server) == answers(versions[1])


def test_a_key_is_sent_and_a_wrong_one_is_refused(
    kind: str, versions: Versions, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    (tmp_path / "other").write_text("other\n")
    with fake(kind, api_key="s3cret") as engine:
        server = connected(engine, kind, api_key_file=tmp_path / "key")
        server.load(versions[1])
        assert said(server) == answers(versions[1])
        server.close()
        wrong = connected(engine, kind, api_key_file=tmp_path / "other")
        with pytest.raises(HandoverFailed, match="answered 401: Unauthorized") as caught:
            wrong.load(versions[2])
        assert "other" not in str(caught.value)
        wrong.close()


def vllm_on(engine: FakeVllm, **more: Any) -> Server:
    return connected(engine, "vllm", **more)


def test_users_of_vllm_never_miss_the_name_where_it_is_replaced_in_place(
    versions: Versions,
) -> None:
    with FakeVllm(MODEL) as engine:
        server = vllm_on(engine)
        server.load(versions[1])
        server.load(versions[2])
        assert {"lora_name": "factd"} not in engine.posts("/v1/unload_lora_adapter")
        assert engine.posts("/v1/load_lora_adapter")[-1]["load_inplace"] is True
        server.close()


@pytest.mark.parametrize("more", [{}, {"switch": "unload"}])
def test_an_older_vllm_is_told_to_unload_first(more: dict[str, Any], versions: Versions) -> None:
    with FakeVllm(MODEL, in_place=bool(more)) as engine:
        server = vllm_on(engine, **more)
        server.load(versions[1])
        server.load(versions[2])
        assert said(server) == answers(versions[2])
        assert engine.posts("/v1/unload_lora_adapter") == [{"lora_name": "factd"}]
        server.close()


@pytest.mark.parametrize("busy", [False, True])
def test_vllm_whose_cache_knows_names_alone_is_told_to_forget(
    busy: bool, versions: Versions
) -> None:
    with FakeVllm(MODEL, cache_by_name=True, busy=busy) as engine:
        server = vllm_on(engine)
        server.load(versions[1])
        said(server)
        server.load(versions[2])
        assert said(server) == answers(versions[2])
        server.close()


def test_without_the_endpoint_asking_finds_what_such_a_cache_kept(versions: Versions) -> None:
    with FakeVllm(MODEL, cache_by_name=True, dev_mode=False) as engine:
        server = vllm_on(engine)
        server.load(versions[1])
        said(server)
        server.load(versions[2])
        assert said(server) == answers(versions[1])
        assert said(server, versions[2]) == answers(versions[2])
        server.close()


def test_vllm_that_may_not_load_adapters_is_one_sentence(versions: Versions) -> None:
    with FakeVllm(MODEL, runtime_lora=False) as engine:
        server = vllm_on(engine)
        with pytest.raises(HandoverFailed, match="answered 404: Not Found"):
            server.load(versions[1])
        server.close()


def test_an_adapter_of_too_high_a_rank_is_refused_in_the_engines_words(versions: Versions) -> None:
    with FakeVllm(MODEL, most_rank=2) as engine:
        server = vllm_on(engine)
        with pytest.raises(HandoverFailed, match="rank 4 is greater than max_lora_rank 2"):
            server.load(versions[1])
        server.close()


def test_a_path_that_the_engine_does_not_see_leaves_what_was_there_or_the_base(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    server.load(versions[1])
    nowhere = Version(number=2, folder="/none", adapter="/none/adapter", digest=versions[2].digest)
    with pytest.raises(HandoverFailed):
        server.load(nowhere)
    lost = kind == "vllm reload"  # a read that fails takes the weights before with it
    assert said(server) == answers(versions[0 if lost else 1])


def test_vllm_goes_on_answering_after_weights_that_it_could_not_read(versions: Versions) -> None:
    with FakeVllm(MODEL) as engine:
        server = connected(engine, "vllm reload")
        engine.misbehave("500")
        with pytest.raises(HandoverFailed):
            server.load(versions[1])
        assert not engine.paused
        assert [asked.path for asked in engine.asked if asked.path == "/resume"]
        server.close()


def test_vllm_without_its_development_mode_cannot_reload(versions: Versions) -> None:
    with FakeVllm(MODEL, dev_mode=False) as engine:
        server = connected(engine, "vllm reload")
        assert server.report().serving is None
        with pytest.raises(HandoverFailed, match="answered 404"):
            server.load(versions[1])
        server.close()


@pytest.mark.parametrize("info", sglang.INFO)
def test_every_sglang_says_its_version_somewhere(info: str, versions: Versions) -> None:
    with FakeSglang(MODEL, info=info) as engine:
        server = connected(engine, "sglang")
        server.load(versions[1])
        assert server.report().serving == versions[1].name
        server.close()


def test_sglang_has_a_key_of_its_own_for_its_administration(
    versions: Versions, tmp_path: Path
) -> None:
    (tmp_path / "admin").write_text("adm1n\n")
    with FakeSglang(MODEL, admin_key="adm1n") as engine:
        refused = connected(engine, "sglang")
        with pytest.raises(HandoverFailed, match="admin_api_key is required"):
            refused.load(versions[1])
        refused.close()
        server = connected(engine, "sglang", admin_key_file=tmp_path / "admin")
        server.load(versions[1])
        assert said(server) == answers(versions[1])
        server.close()


def test_users_are_answered_while_an_engine_loads(kind: str, versions: Versions) -> None:
    """The fake's own promise: a load that hangs holds nobody else up."""
    with fake(kind) as engine:
        first, second = connected(engine, kind, load_seconds=20.0), connected(engine, kind)
        first.load(versions[1])
        engine.misbehave("hang", times=1)
        loading = threading.Thread(target=first.load, args=(versions[2],))
        loading.start()
        assert said(second) == answers(versions[1])
        engine.released.set()
        loading.join(timeout=20)
        assert said(second) == answers(versions[2])
        first.close()
        second.close()
