"""The dispatcher finds conditions in factd's state and sends messages about them.

A message is sent once for each condition, and again after a failure or a crash. Each channel is
served independently of the others.
"""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.app import App
from factd.daemon.cli.main import cli
from factd.daemon.notifications import dispatch as dispatching
from factd.daemon.notifications.dispatch import dispatch
from factd.daemon.sources import webhook as receiver
from factd.store import operations, queries
from factd.store.model.operations import DispatchStatus
from support.fakes.http import Asked, Fake, Reply, serving
from support.paths import ROOT
from support.world import NOW, Clock, Maker

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
CHANNEL = """
[notify.{name}]
kind = "webhook"
url = "{url}/{name}"
secret_file = "secret"
allow_networks = ["127.0.0.0/8"]
timeout_seconds = 5
{more}
"""
CRASH = """
import os, signal, sys
from pathlib import Path
from factd.daemon.app import open_app
from factd.daemon.notifications.dispatch import dispatch
from factd.store import operations

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

operations.notices.mark_sent = killed
app = open_app(Path(sys.argv[1]))
dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
"""


@pytest.fixture
def down() -> set[str]:
    """Paths whose receiver answers 500."""
    return set()


@pytest.fixture
def fake(down: set[str], tmp_path: Path) -> Iterator[Fake]:
    (tmp_path / "secret").write_text(SECRET)

    def answer(asked: Asked) -> Reply:
        return Reply(status=500 if asked.path in down else 204)

    with serving(answer) as found:
        yield found


def channel(fake: Fake, name: str = "ops", more: str = "") -> str:
    return CHANNEL.format(name=name, url=fake.url, more=more)


def freeze(app: App, why: str = "a test") -> None:
    with app.ledger.begin() as session:
        queries.releases.freeze(session, why=why, who="anna", now=app.ledger.now())


def ids(fake: Fake, path: str = "/ops") -> list[str]:
    return [asked.headers["webhook-id"] for asked in fake.asked if asked.path == path]


def kinds(fake: Fake) -> list[str]:
    return [asked.body.split(b'"')[3].decode() for asked in fake.asked]


def test_what_stays_so_is_told_once_and_again_when_it_comes_back(
    make: Maker, fake: Fake, clock: Clock
) -> None:
    app = make(channel(fake))
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 0
    freeze(app)
    assert [
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
        for _ in range(3)
    ] == [1, 0, 0]
    with app.ledger.begin() as session:
        queries.releases.unfreeze(session, who="anna", now=app.ledger.now())
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 0
    clock.advance(minutes=1)
    freeze(app)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 1
    assert kinds(fake) == ["factd.frozen", "factd.frozen"]
    assert len(set(ids(fake))) == 2


def test_nothing_is_written_while_nothing_changes(make: Maker, fake: Fake, clock: Clock) -> None:
    app = make(channel(fake))
    freeze(app)
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    with app.ledger.begin() as session:
        before = operations.notices.open_notices(session)
        clock.advance(hours=1)
        assert (
            dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 0
        )  # it would wait for this writer on SQLite, and fail
        assert operations.notices.open_notices(session) == before


def test_after_a_500_the_same_message_comes_again_later_and_later(
    make: Maker, fake: Fake, clock: Clock, down: set[str]
) -> None:
    app = make(channel(fake))
    freeze(app)
    down.add("/ops")
    assert [
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
    ] == [0, 0]
    assert len(fake.asked) == 1
    clock.advance(seconds=30)
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    clock.advance(seconds=59)
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    assert len(fake.asked) == 2
    down.clear()
    clock.advance(seconds=1)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 1
    assert len(set(ids(fake))) == 1 and len(fake.asked) == 3
    table = receiver.Settings(kind="webhook", secret_file=app.config.root / "secret")
    for asked in fake.asked:
        assert receiver.receive(table, asked.headers, asked.body, now=clock()).status == 202


def test_a_message_is_given_up_in_the_end_and_that_is_shown(
    make: Maker, fake: Fake, clock: Clock, down: set[str]
) -> None:
    app = make("[notify]\nattempts = 3\n" + channel(fake))
    freeze(app)
    down.add("/ops")
    for _ in range(9):
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
        clock.advance(hours=2)
    assert len(fake.asked) == 3
    with app.ledger.read() as session:
        (notice,) = operations.notices.open_notices(session).values()
        (one,) = operations.notices.dispatches_of_notices(session, [notice.id])
    assert (one.status, one.attempts) == (DispatchStatus.FAILED, 3)
    assert one.error == f"{fake.url} answered 500"


def test_a_channel_that_is_down_holds_up_no_other(
    make: Maker, fake: Fake, clock: Clock, down: set[str]
) -> None:
    app = make(channel(fake, "ops") + channel(fake, "desk"))
    down.add("/ops")
    freeze(app)
    with app.ledger.begin() as session:
        for name in ("a", "b", "c"):
            queries.sources.save_state(session, name, frozen="a flood")
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 4
    assert (len(ids(fake, "/ops")), len(ids(fake, "/desk"))) == (1, 4)
    down.clear()
    clock.advance(seconds=30)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 4
    assert len(set(ids(fake, "/ops"))) == 4
    assert not set(ids(fake, "/ops")) & set(ids(fake, "/desk"))


def test_a_daemon_that_stops_begins_no_other_message(make: Maker, fake: Fake) -> None:
    app = make(channel(fake))
    with app.ledger.begin() as session:
        for name in ("a", "b", "c"):
            queries.sources.save_state(session, name, frozen="a flood")
    assert (
        dispatch(
            app.ledger,
            app.planning,
            app.channels,
            app.fleet,
            app.config.notify,
            stopping=lambda: bool(fake.asked),
        )
        == 1
    )
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 2


def test_a_channel_is_told_its_own_kinds_and_a_new_one_what_still_holds(
    make: Maker, fake: Fake
) -> None:
    app = make(channel(fake, "ops", 'kinds = ["source_frozen"]'))
    freeze(app)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 0
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "a", frozen="a flood")
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 1
    assert kinds(fake) == ["factd.source_frozen"]
    later = make(channel(fake, "ops", 'kinds = ["source_frozen"]') + channel(fake, "desk"))
    assert (
        dispatch(later.ledger, later.planning, later.channels, later.fleet, later.config.notify)
        == 2
    )


def test_what_still_holds_is_told_again_where_that_is_wanted(
    make: Maker, fake: Fake, clock: Clock
) -> None:
    app = make(channel(fake, more="repeat_hours = 24"))
    freeze(app)
    told = []
    for _ in range(4):
        told.append(dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify))
        clock.advance(hours=13)
    assert told == [1, 0, 1, 0]
    assert len(set(ids(fake))) == 2


def test_what_was_over_before_it_could_be_told_is_told_as_over(
    make: Maker, fake: Fake, clock: Clock, down: set[str]
) -> None:
    app = make(channel(fake))
    down.add("/ops")
    freeze(app)
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    with app.ledger.begin() as session:
        queries.releases.unfreeze(session, who="anna", now=clock())
    down.clear()
    clock.advance(minutes=1)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 1
    assert f'"over_at": "{clock().isoformat()}"'.encode() in fake.asked[-1].body


def test_a_kill_between_sending_and_recording_sends_the_same_message_again(
    make: Maker, fake: Fake, clock: Clock
) -> None:
    app = make(channel(fake))
    freeze(app)
    command = [sys.executable, "-c", CRASH, str(app.config.root / "factd.toml")]
    root = ROOT
    killed = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(root / "src")}, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(fake.asked) == 1
    clock.time = factd_clock(app)
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 0
    clock.advance(seconds=31)
    assert [
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
    ] == [1, 0]
    first, again = fake.asked
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body


def factd_clock(app: App) -> datetime:
    """The time of the attempt that another process made, on the real clock."""
    with app.ledger.read() as session:
        (notice,) = operations.notices.open_notices(session).values()
        (one,) = operations.notices.dispatches_of_notices(session, [notice.id])
    assert one.not_before is not None and one.attempts == 1
    return one.not_before - timedelta(seconds=30)


def test_a_message_that_ends_its_process_each_time_is_given_up(
    make: Maker, fake: Fake, clock: Clock
) -> None:
    app = make("[notify]\nattempts = 2\n" + channel(fake))
    freeze(app)
    dispatching.update_notices(
        app.ledger,
        app.channels,
        dispatching.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify),
    )
    for _ in range(2):
        with app.ledger.begin() as session:
            (one,) = operations.notices.due(session, "ops", now=clock(), limit=1)
            assert operations.notices.start_attempt(session, one, now=clock())
        clock.advance(hours=2)
    assert [
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
        dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify),
    ] == [0, 0]
    assert fake.asked == []
    with app.ledger.read() as session:
        (one,) = operations.notices.dispatches_of_notices(session, [one.notice.id])
    assert (one.status, one.error) == (
        DispatchStatus.FAILED,
        "every attempt ended with its process",
    )


def test_a_secret_in_what_happened_does_not_leave_the_house(make: Maker, fake: Fake) -> None:
    app = make(channel(fake))
    freeze(app, "https://u:hunter2@example.org/?token=hunter2 answered 500")
    assert dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify) == 1
    assert b"hunter2" not in fake.asked[0].body
    assert b"https://u:***@example.org/" in fake.asked[0].body


def test_the_commands_show_and_try_channels(make: Maker, fake: Fake, down: set[str]) -> None:
    app = make(channel(fake, "ops") + channel(fake, "desk"))
    freeze(app, "an incident")
    down.add("/desk")
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    runner = CliRunner()

    def said(*words: str, code: int = 0) -> str:
        done = runner.invoke(cli, ["--config", str(app.config.root / "factd.toml"), *words])
        assert done.exit_code == code, (words, done.stdout, done.stderr, done.exception)
        return done.stdout if code == 0 else done.stderr

    shown = said("notices", "list")
    assert "anna froze factd: an incident" in shown and f"ops: sent {NOW:%Y-%m-%d %H:%M}" in shown
    assert f"desk: waits, attempt 1 failed: {fake.url} answered 500" in shown
    assert '"status": "sent"' in said("notices", "list", "--all", "--json")
    assert "ops took message factd_test_" in said("notices", "test", "ops")
    assert b'"type": "factd.test"' in fake.asked[-1].body
    assert "answered 500" in said("notices", "test", "desk", code=1)
    assert "no channel 'mail'; the configuration has: ops, desk" in said(
        "notices", "test", "mail", code=1
    )


def test_a_message_of_another_time_or_channel_has_another_id(make: Maker, fake: Fake) -> None:
    app = make(channel(fake, "ops") + channel(fake, "desk"))
    freeze(app)
    dispatch(app.ledger, app.planning, app.channels, app.fleet, app.config.notify)
    with app.ledger.read() as session:
        (notice,) = operations.notices.open_notices(session).values()
        one, two = operations.notices.dispatches_of_notices(session, [notice.id])
    first = dispatching.message_of(one).id
    assert first == dispatching.message_of(one).id != dispatching.message_of(two).id
