"""Messages to systemd over a real datagram socket, by path and by abstract name, or without one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from factd.daemon.runtime import systemd


@pytest.fixture(params=["path", "abstract"])
def notified(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"@factd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1))
        server.settimeout(5)
        yield server, name


def test_ready_status_and_stopping_arrive(notified: tuple[socket.socket, str]) -> None:
    server, name = notified
    environment = {"NOTIFY_SOCKET": name}
    assert systemd.notify_ready(environment)
    assert systemd.notify_status("release 3 is live\nREADY=0", environment)
    assert systemd.notify_stopping(environment)
    assert [server.recv(200) for _ in range(3)] == [
        b"READY=1",
        b"STATUS=release 3 is live READY=0",  # a line of its own would be another message
        b"STOPPING=1",
    ]


def test_a_sign_of_life_is_sent_where_the_unit_has_a_watchdog(
    notified: tuple[socket.socket, str],
) -> None:
    server, name = notified
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"}
    assert systemd.notify_alive(environment | {"WATCHDOG_PID": str(os.getpid())})
    assert server.recv(200) == b"WATCHDOG=1"
    assert systemd.watchdog_seconds(environment) == 30.0


def test_another_process_watchdog_is_not_fed(notified: tuple[socket.socket, str]) -> None:
    _, name = notified
    of_another = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    assert not systemd.notify_alive({"NOTIFY_SOCKET": name} | of_another)
    assert not systemd.notify_alive({"NOTIFY_SOCKET": name})


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens"])
def test_without_a_listener_nothing_is_said_and_nothing_breaks(address: str) -> None:
    assert not systemd.notify_ready({"NOTIFY_SOCKET": address})
