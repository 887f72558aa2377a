"""The daemon's port answers liveness at once, cuts slow clients off and stops in time.

A port that is already taken is an error at once.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from factd.daemon.web import server
from factd.daemon.web.http import DaemonHttp

SECONDS = 20
HealthCheck = Callable[[], str | None]


@contextmanager
def serving(
    *, live: HealthCheck = lambda: None, ready: HealthCheck = lambda: None
) -> Iterator[DaemonHttp]:
    registry = CollectorRegistry()
    Counter("things", "That happened.", registry=registry).inc()
    health = DaemonHttp("127.0.0.1", 0, registry, live=live, ready=ready, hooks={})
    health.start()
    try:
        yield health
    finally:
        health.stop()


def get(health: DaemonHttp, path: str) -> httpx.Response:
    with httpx.Client(timeout=SECONDS) as client:
        return client.get(f"http://127.0.0.1:{health.port}{path}")


def test_metrics_and_health_are_answered_without_a_console() -> None:
    with serving(ready=lambda: "no schema") as health:
        metrics = get(health, "/metrics")
        assert "things_total 1.0" in metrics.text
        assert metrics.headers["Content-Type"].startswith("text/plain; version=")
        assert (get(health, "/livez").status_code, get(health, "/livez").text) == (200, "ok\n")
        assert (get(health, "/readyz").status_code, get(health, "/readyz").text) == (
            503,
            "no schema\n",
        )
        assert get(health, "/login").status_code == 404


def test_liveness_is_told_while_everything_else_waits_for_the_database() -> None:
    answered = threading.Event()

    def waits() -> None:
        answered.wait(SECONDS)

    with serving(ready=waits) as health:
        askers = [threading.Thread(target=get, args=(health, "/readyz")) for _ in range(60)]
        for asker in askers:
            asker.start()
        try:
            assert get(health, "/livez").status_code == 200
        finally:
            answered.set()
            for asker in askers:
                asker.join(SECONDS)


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with (
        serving() as health,
        socket.create_connection(("127.0.0.1", health.port), timeout=SECONDS) as found,
    ):
        found.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
        assert found.recv(100) == b""


def test_a_second_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with (
        serving() as health,
        socket.create_connection(("127.0.0.1", health.port), timeout=SECONDS) as found,
    ):
        found.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert found.recv(1000).startswith(b"HTTP/1.1 200")
        found.sendall(b"GET /livez")
        while part := found.recv(1000):
            assert b"HTTP" not in part


def test_a_head_that_is_too_large_is_refused() -> None:
    with (
        serving() as health,
        socket.create_connection(("127.0.0.1", health.port), timeout=SECONDS) as found,
    ):
        found.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n")
        assert b" 4" in found.recv(100)


def test_an_answer_that_hangs_does_not_hold_up_the_end() -> None:
    begun, over = threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        over.wait(SECONDS)

    with serving(ready=hangs) as health:
        with socket.create_connection(("127.0.0.1", health.port), timeout=SECONDS) as found:
            found.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert begun.wait(SECONDS)
            started = time.monotonic()
            health.stop()
            took = time.monotonic() - started
        over.set()
    assert took < 3 * server.STOP_SECONDS


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with serving() as health:
        other = DaemonHttp(
            "127.0.0.1", health.port, CollectorRegistry(), live=str, ready=str, hooks={}
        )
        with pytest.raises(OSError, match="in use"):
            other.start()
