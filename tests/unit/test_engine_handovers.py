"""Whole hand-overs to the engines: whatever they do wrong, users end with the version before, or with the new one proven."""

from collections.abc import Iterator

import pytest
from engine import FakeEngine
from handed import PROMPTS, answer, answers, made_version
from test_engines import KINDS, STAGING, Versions, connected, fake, instead, said

from daemon.handover import Order, Outcome, Target, hand_over
from daemon.proofs import TOKENS, Question, Said
from daemon.servers import Server, Version


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    root = tmp_path_factory.mktemp("published")
    return {number: made_version(root, number) for number in range(4)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(kind: str) -> Iterator[FakeEngine]:
    with fake(kind) as found:
        yield found


@pytest.fixture
def server(engine: FakeEngine, kind: str) -> Iterator[Server]:
    found = connected(engine, kind, load_seconds=3.0, answer_seconds=3.0)
    yield found
    found.close()


def target(version: Version) -> Target:
    """A version, and what our own forward pass says of it."""
    wanted = []
    for prompt in PROMPTS:
        text, logprobs = answer(version.folder, prompt, TOKENS)
        right, other = Said(text=text, logprobs=logprobs), Said(text="", logprobs=())
        question = Question(
            prompt=prompt, language="en", said=right, before=other, base=other, tells=True
        )
        wanted.append((question, right))
    return Target(version=version, wanted=wanted)


def handed(server: Server, to: Version, back: Version | None = None) -> Outcome:
    order = Order(
        to=target(to), back=target(back) if back else None, tolerance=0.05, alive=lambda: None
    )
    return hand_over(server, order)


def test_the_first_version_and_the_next_are_handed_over_and_the_one_before_is_dropped(
    server: Server, kind: str, versions: Versions
) -> None:
    assert handed(server, versions[1]).done
    found = handed(server, versions[2], versions[1])
    assert (found.done, found.why, found.asked) == (True, "", len(PROMPTS))
    assert said(server) == answers(versions[2])
    held = (versions[2].name,) if kind in STAGING else ()
    assert server.report().loaded == held


@pytest.mark.parametrize(
    "how", ["old weights", "wrong weights", "wrong version", "half loaded", "stale cache", "500"]
)
def test_users_keep_the_version_before_where_an_engine_does_something_wrong(
    how: str, server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    assert handed(server, versions[1]).done
    times = None if how == "stale cache" else 1
    engine.misbehave(how, instead=instead(engine, versions[3]), times=times)
    found = handed(server, versions[2], versions[1])
    if how == "stale cache" and kind in STAGING:
        assert not found.done and found.restored is True
    elif how == "stale cache":
        assert not found.done and "answers are not those" in found.why
    else:
        assert not found.done and found.restored is (None if kind in STAGING else True)
    assert said(server) == answers(versions[1])
    engine.behave()
    found = handed(server, versions[2], versions[1])
    assert found.done, found.why
    assert said(server) == answers(versions[2])


def test_an_engine_that_ends_in_the_middle_gets_the_version_before_again(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    assert handed(server, versions[1]).done
    engine.misbehave("crash", times=1)
    found = handed(server, versions[2], versions[1])
    assert (found.done, found.transient) == (False, True)
    if kind not in STAGING:  # it ended when users were to get the new one
        assert found.restored is True
        assert said(server) == answers(versions[1])
    assert handed(server, versions[2], versions[1]).done  # the next attempt
    assert said(server) == answers(versions[2])


def test_an_engine_that_is_away_is_tried_again(
    server: Server, engine: FakeEngine, kind: str, versions: Versions
) -> None:
    assert handed(server, versions[1]).done
    engine.misbehave("away")
    found = handed(server, versions[2], versions[1])
    assert (found.done, found.transient) == (False, True)
    engine.release()
    assert handed(server, versions[2], versions[1]).done
    assert said(server) == answers(versions[2])


def test_going_back_to_the_base_is_a_hand_over_as_any_other(
    server: Server, versions: Versions
) -> None:
    assert handed(server, versions[1]).done
    assert handed(server, versions[0], versions[1]).done
    assert said(server) == answers(versions[0])
