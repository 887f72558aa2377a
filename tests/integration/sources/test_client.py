"""The HTTP client against a real server: where it may go, how much it takes, how long it waits."""

import gzip
import ipaddress
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from factd.daemon.errors import Blocked, SourceFailed, SourceGone
from factd.daemon.network.client import Client, Limits, retry_after, shown_url
from factd.daemon.network.ssrf import allowed
from support.fakes.http import Asked, Fake, Reply, serving

LOCAL = Limits(networks=("127.0.0.0/8",), wait_seconds=0.01, seconds=5.0, bytes=1_000_000)


@pytest.fixture
def replies() -> list[Reply]:
    return [Reply(body=b"whole")]


@pytest.fixture
def fake(replies: list[Reply]) -> Iterator[Fake]:
    """Answers with the replies in turn; the last one goes on."""

    def answer(_: Asked) -> Reply:
        return replies.pop(0) if len(replies) > 1 else replies[0]

    with serving(answer) as found:
        yield found


def client(**more: Any) -> Client:
    return Client(replace(LOCAL, **more), sleep=lambda _: None)


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001::1", False),
    ],
)
def test_only_the_public_internet_is_asked(address: str, is_allowed: bool) -> None:
    assert allowed(ipaddress.ip_address(address)) is is_allowed


def test_a_network_of_ones_own_is_asked_where_it_is_named() -> None:
    networks = [ipaddress.ip_network("10.1.0.0/16")]
    assert allowed(ipaddress.ip_address("10.1.2.3"), networks)
    assert allowed(ipaddress.ip_address("::ffff:10.1.2.3"), networks)
    assert not allowed(ipaddress.ip_address("10.2.0.1"), networks)


def test_a_name_that_means_this_machine_is_blocked_before_a_request(fake: Fake) -> None:
    with pytest.raises(Blocked, match="not on the public internet"):
        client(networks=()).get(fake.url)
    assert fake.asked == []


def test_a_name_with_one_private_address_among_public_ones_is_blocked(fake: Fake) -> None:
    found = Client(replace(LOCAL, networks=()), lookup=lambda *_: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(Blocked, match=r"10\.0\.0\.1"):
        found.get("http://rebinding.example/")


def test_a_redirect_to_a_private_address_is_blocked(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(status=302, headers={"Location": "http://10.0.0.1/secret"})]
    with pytest.raises(Blocked, match=r"10\.0\.0\.1"):
        client().get(fake.url)


def test_a_redirect_is_followed_without_the_token_to_another_host(
    replies: list[Reply], fake: Fake
) -> None:
    with serving(lambda _: Reply(body=b"other")) as other:
        replies[:] = [Reply(status=302, headers={"Location": other.url})]
        assert client(token="secret").get(fake.url).body == b"other"
        assert fake.asked[0].headers["authorization"] == "Bearer secret"
        assert "authorization" not in other.asked[0].headers


def test_redirects_in_a_circle_end(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(status=302, headers={"Location": "/again"})]
    with pytest.raises(SourceFailed, match="redirects"):
        client().get(fake.url)
    assert len(fake.asked) == 6


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int, replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(status=status), Reply(status=status), Reply(body=b"now")]
    assert client().get(fake.url).body == b"now"
    assert len(fake.asked) == 3


def test_an_error_of_the_server_is_no_answer_and_is_not_repeated(
    replies: list[Reply], fake: Fake
) -> None:
    replies[:] = [Reply(status=500)]
    with pytest.raises(SourceFailed, match="answered 500"):
        client().get(fake.url)
    assert len(fake.asked) == 1


def test_a_long_wish_for_peace_ends_the_pull_and_is_passed_on(
    replies: list[Reply], fake: Fake
) -> None:
    replies[:] = [Reply(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(SourceFailed, match="429") as caught:
        client().get(fake.url)
    assert caught.value.retry_seconds == 3600
    assert len(fake.asked) == 1


def test_gone_is_gone(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(status=410)]
    with pytest.raises(SourceGone, match="gone for good"):
        client().get(fake.url)


def test_both_forms_of_retry_after_are_read() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert retry_after("120", now) == 120
    assert retry_after("Sat, 21 Nov 2026 12:02:00 GMT", now) == 120
    assert retry_after("Sat, 21 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after("soon", now) is None
    assert retry_after(None, now) is None


def test_a_truncated_body_is_no_answer(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(body=b"half", announced=1000)]
    with pytest.raises(SourceFailed):
        client().get(fake.url)
    assert len(fake.asked) == 3


def test_an_endless_answer_is_cut_at_the_limit(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(parts=itertools.repeat(b"x" * 65536, 200_000), announced=10**10)]
    with pytest.raises(SourceFailed, match="max_bytes"):
        client(attempts=1).get(fake.url)


def test_a_bomb_is_cut_where_it_unpacks(replies: list[Reply], fake: Fake) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    replies[:] = [Reply(body=bomb, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(SourceFailed, match="the uncompressed response is larger than max_bytes"):
        client().get(fake.url)


def test_gzip_is_unpacked(replies: list[Reply], fake: Fake) -> None:
    packed = gzip.compress(b"words")
    replies[:] = [Reply(body=packed, headers={"Content-Encoding": "gzip"})]
    assert client().get(fake.url).body == b"words"


def test_a_slow_loris_is_left_when_the_time_is_over(replies: list[Reply], fake: Fake) -> None:
    replies[:] = [Reply(parts=itertools.repeat(b"x", 100), announced=100, pause_seconds=0.1)]
    started = time.monotonic()
    with pytest.raises(SourceFailed):
        client(seconds=0.5, attempts=1).get(fake.url)
    assert time.monotonic() - started < 3


def test_a_server_that_is_not_there_is_named_without_secrets() -> None:
    with pytest.raises(SourceFailed) as caught:
        client(attempts=1).get("http://user:password@127.0.0.1:9/path?token=secret")
    assert "http://127.0.0.1:9/path" in str(caught.value)
    assert "secret" not in str(caught.value) + shown_url("http://a:secret@b/?secret")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "nonsense"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(SourceFailed):
        client(attempts=1).get(url)


def test_requests_keep_their_distance(fake: Fake) -> None:
    waits: list[float] = []
    found = Client(replace(LOCAL, requests_per_minute=60), sleep=waits.append)
    found.get(fake.url)
    found.get(fake.url)
    assert len(waits) == 1
    assert 0.5 < waits[0] <= 1.0


def test_it_says_who_asks(fake: Fake) -> None:
    client(user_agent="factd/1 (ops@example.org)").get(fake.url)
    assert fake.asked[0].headers["user-agent"] == "factd/1 (ops@example.org)"
