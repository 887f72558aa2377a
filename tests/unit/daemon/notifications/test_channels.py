"""Each channel against a real server on loopback: what arrives, what proves it, and how a broken server ends."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from pydantic import ValidationError

from factd.daemon.channels import Message, email, webhook
from factd.daemon.configuration import load_config
from factd.daemon.errors import BadConfig, NotSent
from factd.daemon.plugins import channels
from factd.daemon.sources import webhook as receiver
from support.fakes.http import Fake, Reply
from support.fakes.smtp import Postbox, mail_server
from support.world import NOW

MESSAGE = Message(
    id="factd_1",
    kind="rejected",
    text="candidate 7 was rejected: ¿por qué?",
    data={"candidate": 7, "reasons": ["too few"]},
    first_at=NOW,
    count=2,
    over_at=None,
    host="host-1",
)
LOOPBACK = ("127.0.0.0/8",)


def to(fake: Fake, secret: Path, **more: Any) -> webhook.Settings:
    held: dict[str, Any] = {
        "kind": "webhook",
        "url": f"{fake.url}/hooks/T0P/secret-path",
        "secret_file": secret,
    }
    held |= {"allow_networks": LOOPBACK, "timeout_seconds": 2.0}
    return webhook.Settings.model_validate(held | more)


def test_a_webhooks_signature_is_verified_by_our_own_receiver(fake: Fake, secret: Path) -> None:
    webhook.send(to(fake, secret), MESSAGE, now=NOW)
    (asked,) = fake.asked
    assert (asked.method, asked.path) == ("POST", "/hooks/T0P/secret-path")
    table = receiver.Settings(kind="webhook", secret_file=secret)
    taken = receiver.receive(table, asked.headers, asked.body, now=NOW)
    assert (taken.status, taken.key) == (202, "factd_1")
    assert receiver.receive(table, asked.headers, asked.body + b" ", now=NOW).status == 401
    said = json.loads(asked.body)
    assert (said["type"], said["timestamp"]) == ("factd.rejected", NOW.isoformat())
    assert said["data"]["candidate"] == 7 and said["data"]["text"] == MESSAGE.text


@pytest.mark.parametrize("status", [301, 400, 404, 410, 500, 503])
def test_only_a_2xx_is_an_arrival_and_no_redirect_is_followed(
    status: int, fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(status=status, headers={"Location": f"{fake.url}/elsewhere"})
    with pytest.raises(NotSent, match=f"answered {status}") as caught:
        webhook.send(to(fake, secret), MESSAGE, now=NOW)
    assert len(fake.asked) == 1
    assert "secret-path" not in str(caught.value)


def test_a_receiver_may_name_the_time(fake: Fake, replies: list[Reply], secret: Path) -> None:
    replies[0] = Reply(status=429, headers={"Retry-After": "7200"})
    with pytest.raises(NotSent) as caught:
        webhook.send(to(fake, secret), MESSAGE, now=NOW)
    assert caught.value.retry_seconds == 7200


def test_a_receiver_that_says_too_much_or_too_slowly_is_left(
    fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(body=b"x" * 100_000)
    with pytest.raises(NotSent, match="larger than"):
        webhook.send(to(fake, secret), MESSAGE, now=NOW)
    replies[0] = Reply(parts=[b"."] * 100, pause_seconds=0.05)
    started = time.monotonic()
    with pytest.raises(NotSent):
        webhook.send(to(fake, secret, timeout_seconds=0.3), MESSAGE, now=NOW)
    assert time.monotonic() - started < 4


def test_a_webhook_goes_only_to_the_public_internet_unless_told(fake: Fake, secret: Path) -> None:
    with pytest.raises(NotSent, match="not on the public internet"):
        webhook.send(to(fake, secret, allow_networks=()), MESSAGE, now=NOW)
    assert fake.asked == []


def test_a_url_may_lie_in_a_file(fake: Fake, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{fake.url}/from-a-file\n")
    webhook.send(to(fake, secret, url="", url_file=tmp_path / "url"), MESSAGE, now=NOW)
    assert fake.asked[0].path == "/from-a-file"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            '[notify.x]\nsecret_file = "s"\n',
            "notify.x: there is no kind 'x'; choose one of email, webhook",
        ),
        ('[notify.webhook]\nsecret_file = "s"\n', "give exactly one of url and url_file"),
        ('[notify.webhook]\nurl = "ftp://a"\nsecret_file = "s"\n', "notify.webhook.url"),
        ('[notify.webhook]\nurl = "http://a"\n', "notify.webhook.secret_file"),
        (
            '[notify.webhook]\nurl = "http://a"\nsecret_file = "s"\nkinds = ["x"]',
            "the kinds are rejected",
        ),
        ('[notify.email]\nhost = "a"\nsender = "a"\nto = ["a@b"]\n', "'a' is not a mail address"),
        ('[notify.email]\nhost = "a"\nsender = "a@b"\nto = ["a@b\\nBcc: c@d"]\n', "is not a mail"),
        ('[notify.email]\nhost = "a"\nsender = "a@b"\nto = []\n', "notify.email.to"),
        (
            '[notify.email]\nhost = "a"\nsender = "a@b"\nto = ["a@b"]\nuser = "u"\n',
            "belong together",
        ),
        (
            '[notify.email]\nhost = "a"\nsender = "a@b"\nto = ["a@b"]\nuser = "u"\npassword_file = "p"\nsecurity = "none"\n',
            "never sent unencrypted",
        ),
        (
            '[notify.webhook]\nurl = "http://a"\nsecret_file = "s"\nallow_networks = ["x"]',
            "allow_networks",
        ),
        ("[notify]\nbudget_sahre = 0.9\n", "budget_sahre is neither a key nor a table"),
    ],
)
def test_a_wrong_channel_is_refused_with_its_key(table: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "factd.toml"
    path.write_text(f'[model]\npath = "model"\n{table}')
    with pytest.raises(BadConfig) as caught:
        channels(load_config(path))
    assert reason in str(caught.value)


def test_channels_are_read_with_their_paths_and_those_switched_off_are_not(tmp_path: Path) -> None:
    path = tmp_path / "factd.toml"
    table = '[notify.{}]\nkind = "webhook"\nurl = "https://a.org"\nsecret_file = "s"\n'
    off = table.format("off") + "enabled = false\n"
    path.write_text('[model]\npath = "model"\n' + table.format("ops") + off)
    found = channels(load_config(path))
    assert list(found) == ["ops"]
    assert getattr(found["ops"].settings, "secret_file") == tmp_path / "s"  # noqa: B009
    with pytest.raises(BadConfig, match="write the secret into it"):
        found["ops"].settings.ready()


def mail(port: int, **more: Any) -> email.Settings:
    held: dict[str, Any] = {"kind": "email", "host": "127.0.0.1", "port": port, "security": "none"}
    held |= {"sender": "factd@example.org", "to": ("ops@example.org", "on-call@example.org")}
    return email.Settings.model_validate(held | {"timeout_seconds": 5.0} | more)


def test_a_mail_says_what_happened_to_all(tmp_path: Path) -> None:
    box = Postbox()
    with mail_server(box) as port:
        email.send(mail(port), MESSAGE, now=NOW)
    (found,) = box.mails
    assert found["Subject"] == "[factd] rejected: candidate 7 was rejected: ¿por qué?"
    assert found["To"] == "ops@example.org, on-call@example.org"
    assert found["Message-ID"] == "<factd_1@example.org>"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found.get_content_type() == "text/plain"
    text = found.get_content().replace("\r\n", "\n")
    assert text.startswith(MESSAGE.text + "\n\n")
    assert "host-1" in text and "2 times" in text and "['too few']" in text


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\n\n"])
def test_no_text_can_become_a_header(newline: str) -> None:
    evil = f"x{newline}Bcc: all@example.org{newline}{newline}<script>"
    message = Message(**{**vars(MESSAGE), "text": evil, "data": {"why": evil}, "kind": evil})
    made = email.mail(mail(25), message, now=NOW)
    wire = message_from_bytes(made.as_bytes(), policy=policy.default)
    assert wire["Bcc"] is None
    assert wire.keys() == email.mail(mail(25), MESSAGE, now=NOW).keys()
    assert "Bcc: all@example.org" in wire["Subject"]


def test_a_recipient_that_is_refused_does_not_repeat_the_mail_to_the_others() -> None:
    box = Postbox()
    box.refused = {"ops@example.org"}
    with mail_server(box) as port:
        email.send(mail(port), MESSAGE, now=NOW)
        box.refused.add("on-call@example.org")
        with pytest.raises(NotSent, match="no such user"):
            email.send(mail(port), MESSAGE, now=NOW)
    assert len(box.mails) == 1


def test_a_mail_server_that_is_away_or_never_ends_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        trickle = threading.Thread(target=_trickle, args=(server,), daemon=True)
        trickle.start()
        started = time.monotonic()
        with pytest.raises(NotSent):
            email.send(mail(port, timeout_seconds=0.5), MESSAGE, now=NOW)
        assert time.monotonic() - started < 5
    trickle.join(timeout=5)
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        email.send(mail(port), MESSAGE, now=NOW)


def _trickle(server: socket.socket) -> None:
    """A greeting that never ends, a byte at a time: no single read is slow."""
    peer, _ = server.accept()
    with peer:
        try:
            for _ in range(100):
                peer.sendall(b"2")
                time.sleep(0.1)
        except OSError:
            return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that only `ca_file` makes trusted, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *more], cwd=folder, check=True, capture_output=True, timeout=60)  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


def log_in(_: Any, __: Any, ___: Any, mechanism: str, given: Any) -> AuthResult:
    good = (given.login, given.password) == (b"factd", b"p4ssword")
    return AuthResult(success=good, handled=False)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_goes_only_over_verified_tls(
    security: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("p4ssword\n")
    (tmp_path / "wrong").write_text("other\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    over: dict[str, Any] = {"tls_context": context} if security == "starttls" else {"over": context}
    box, log = Postbox(), {"user": "factd", "password_file": tmp_path / "password"}
    first = security == "starttls"  # aiosmtpd knows only its own STARTTLS as TLS
    logins: dict[str, Any] = {
        "authenticator": log_in,
        "auth_required": first,
        "auth_require_tls": first,
    }
    with mail_server(box, **over, **logins) as port:
        good = {"host": "localhost", "security": security, "ca_file": certificate[0], **log}
        email.send(mail(port, **good), MESSAGE, now=NOW)
        assert len(box.mails) == 1
        for bad, reason in (
            ({"ca_file": None}, "certificate verify failed"),
            ({"host": "127.0.0.1"}, "certificate is not valid|IP address mismatch"),
            ({"password_file": tmp_path / "wrong"}, "535"),
        ):
            with pytest.raises(NotSent, match=reason) as caught:
                email.send(mail(port, **good | bad), MESSAGE, now=NOW)
            assert "p4ssword" not in str(caught.value)
        assert len(box.mails) == 1


def test_starttls_is_not_given_up_where_the_server_has_none() -> None:
    box = Postbox()
    with mail_server(box) as port, pytest.raises(NotSent, match="STARTTLS"):
        email.send(mail(port, security="starttls"), MESSAGE, now=NOW)
    assert box.mails == []


def test_a_wrong_table_names_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="mail address"):
        mail(25, sender="Bcc: a@b\n")
