"""Webhooks through the daemon's real port: signed, stored before the answer, taken once."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from factd.daemon.app import App
from factd.daemon.errors import BadConfig
from factd.daemon.ingestion.pull import pull
from factd.daemon.ingestion.webhooks import hooks
from factd.daemon.sources import webhook
from factd.daemon.web.http import DaemonHttp
from support.world import NOW, Clock, Maker, claim, fact_statuses

KEY = b"0123456789abcdef0123456789abcdef"
TABLE = """
[sources.partner]
kind = "webhook"
secret_file = "secret"
max_bytes = 20000
[sources.github]
kind = "webhook"
style = "github"
secret_file = "github"
"""
case = pytest.mark.case


@pytest.fixture
def app(make: Maker, tmp_path: Path) -> App:
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(KEY).decode() + "\n")
    (tmp_path / "github").write_text("it is a secret")
    return make(TABLE)


@pytest.fixture
def port(app: App) -> Iterator[int]:
    def well() -> None:
        return None

    health = DaemonHttp(
        "127.0.0.1",
        0,
        CollectorRegistry(),
        live=well,
        ready=well,
        hooks=hooks(app.ledger, app.sources),
    )
    health.start()
    yield health.port
    health.stop()


def signed(
    body: bytes, *, id_: str = "msg_1", at: float | None = None, key: bytes = KEY
) -> dict[str, str]:
    stamp = str(int(at or NOW.timestamp()))
    digest = hmac.digest(key, b".".join((id_.encode(), stamp.encode(), body)), hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {
        "webhook-id": id_,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,AAAA {signature}",
    }


def post(port: int, body: bytes, headers: dict[str, str], name: str = "partner") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", f"/hooks/{name}", body=body, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def body(*rows: Any) -> bytes:
    return json.dumps({"updates": list(rows)}).encode()


@case("webhook", "a signed delivery; the same again", "202 after it is stored; taken once")
def test_a_delivery_is_stored_before_the_answer_and_taken_once(app: App, port: int) -> None:
    sent = body(claim("HR", "EUR"), claim("FR", "EUR"))
    assert post(port, sent, signed(sent)) == 202
    assert post(port, sent, signed(sent)) == 202
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "partner")
    assert (found.files, found.new) == (1, 2)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "partner").files == 0
    assert post(port, sent, signed(sent)) == 202
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "partner").files == 0
    assert len(fact_statuses(app)) == 2


@case(
    "webhook",
    "a wrong key, a changed body, an old or future time, missing headers",
    "401 or 400; nothing is stored",
)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (signed(body(claim("HR", "EUR")), key=b"x" * 32), 401),
        (signed(b"other"), 401),
        (signed(body(claim("HR", "EUR")), at=NOW.timestamp() - 301), 400),
        (signed(body(claim("HR", "EUR")), at=NOW.timestamp() + 301), 400),
        ({}, 400),
    ],
)  # fmt: skip
def test_what_is_not_the_senders_is_refused(
    headers: dict[str, str], status: int, app: App, port: int
) -> None:
    assert post(port, body(claim("HR", "EUR")), headers) == status
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "partner").files == 0


@case(
    "webhook", "GitHub's style", "X-Hub-Signature-256 is checked, X-GitHub-Delivery is taken once"
)
def test_githubs_style_is_understood(app: App, port: int) -> None:
    sent = body(claim("HR", "EUR"))
    digest = hmac.new(b"it is a secret", sent, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": "72d3162e"}
    assert post(port, sent, headers, "github") == 202
    assert post(port, sent + b" ", headers, "github") == 401
    assert post(port, sent, {"X-GitHub-Delivery": "1"}, "github") == 400
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "github").new == 1


@case("webhook", "CloudEvents", "deduplicated by source and id, whatever the delivery is called")
def test_a_cloud_event_is_taken_once(app: App, port: int) -> None:
    event = {"specversion": "1.0", "source": "/facts", "id": "7", "data": claim("HR", "EUR")}
    sent = json.dumps(event).encode()
    for number in range(2):
        assert post(port, sent, signed(sent, id_=f"msg_{number}")) == 202
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "partner").files == 1


@case("webhook", "a body that is too large, has no length, or never comes", "413, 411, 400")
def test_bodies_are_bounded(app: App, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"x" * 20_001
    assert post(port, large, signed(large)) == 413
    monkeypatch.setattr("factd.daemon.web.http.BODY_SECONDS", 0.3)
    for head, status in ((b"", b"411"), (b"Content-Length: 100\r\n", b"400")):
        with socket.create_connection(("127.0.0.1", port), timeout=15) as found:
            found.sendall(b"POST /hooks/partner HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n{")
            if status == b"400":
                found.shutdown(socket.SHUT_WR)
            assert status in found.recv(100)


@case("webhook", "a signed body that holds no claims", "set aside with its start")
@pytest.mark.parametrize("sent", [b"hello", b"7", b'{"updates": 7}', b"[" * 5000])
def test_a_body_without_claims_is_set_aside(sent: bytes, app: App, port: int) -> None:
    assert post(port, sent, signed(sent)) == 202
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "partner")
    assert (found.new, found.bad) == (0, 1)


def test_an_unknown_hook_is_not_found(port: int) -> None:
    assert post(port, b"{}", {}, "nobody") == 404
    assert post(port, b"{}", {}, "drop_folder") == 404


def test_a_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    found = webhook.Settings(kind="webhook", secret_file=tmp_path / "none")
    with pytest.raises(BadConfig, match="cannot be read"):
        webhook.secret(found)
    (tmp_path / "none").write_text(" \n")
    with pytest.raises(BadConfig, match="is empty"):
        webhook.secret(found)
    (tmp_path / "none").write_text("whsec_!!")
    with pytest.raises(BadConfig, match="base64"):
        webhook.secret(found)


def test_old_ids_are_forgotten_when_their_time_is_over(app: App, port: int, clock: Clock) -> None:
    from factd.store import queries

    sent = body(claim("HR", "EUR"))
    post(port, sent, signed(sent))
    pull(app.ledger, app.paths, app.prompts, app.sources, "partner")
    clock.advance(days=31)
    with app.ledger.begin() as session:
        queries.sources.delete_old_keys(session, before=clock())
        assert queries.sources.add_delivery(session, "partner", "msg_1", b"", now=clock())
