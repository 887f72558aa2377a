"""Rules of the console: hosts, addresses, origins, places in lists, the wording of pages."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request

from factd.daemon.errors import Busy, FactdError
from factd.daemon.web import formatting
from factd.daemon.web.actions import ACTIONS, number, reason
from factd.daemon.web.app import status_of
from factd.daemon.web.errors import BadRequest, Unauthenticated
from factd.daemon.web.middleware import address_of, host_name, other_site
from factd.daemon.web.pagination import decode_place, encode_place, fact_search
from factd.daemon.web.responses import TEMPLATES
from factd.store.errors import NotFound, StaleState, StoreError, Unstorable
from factd.store.model.facts import FactStatus
from support.world import NOW


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:9464", "127.0.0.1"),
        ("Console.Example", "console.example"),
        ("[::1]:9464", "[::1]"),
        ("", ""),
    ],
)
def test_a_host_is_compared_without_its_port(host: str, name: str) -> None:
    assert host_name(host) == name


def request(peer: str, forwarded: str = "") -> Request:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    return Request({"type": "http", "client": (peer, 1), "headers": headers})


def test_a_forwarded_address_counts_only_from_a_configured_proxy() -> None:
    assert address_of(request("10.0.0.9", "1.2.3.4"), ()) == "10.0.0.9"
    assert address_of(request("10.0.0.1", "6.6.6.6, 1.2.3.4"), ("10.0.0.1",)) == "1.2.3.4"
    assert address_of(request("10.0.0.1"), ("10.0.0.1",)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("headers", "from_here"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://x:1"}, True),
        ({"origin": "https://x:1"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://x:2"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_form_of_another_site_is_recognised(headers: dict[str, str], from_here: bool) -> None:
    assert (other_site(Headers({"host": "x:1", **headers})) == "") is from_here


@given(st.lists(st.text(st.characters(categories=("L", "N")), max_size=20), max_size=3))
def test_a_place_in_a_list_comes_back_as_it_went(key: list[str]) -> None:
    assert decode_place(encode_place(tuple(key))) == tuple(key)


@pytest.mark.parametrize("text", ["x", "e30", "WzFd", "WyJcdTAwMDAiXQ", "é", "[" * 90_000])
def test_a_text_that_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="begin again"):
        decode_place(text)


def test_a_search_is_checked() -> None:
    assert fact_search(text=" Croatia ", status="pending").status is FactStatus.PENDING
    for bad in ({"text": "a\0"}, {"status": "x"}, {"relation": "x" * 201}):
        with pytest.raises(BadRequest):
            fact_search(**bad)


@pytest.mark.parametrize("text", ["", "  \n ", "a\0b", "x" * 501])
def test_a_reason_says_something(text: str) -> None:
    with pytest.raises(BadRequest):
        reason(text)
    assert reason("  because\n it is ") == "because it is"


@pytest.mark.parametrize("text", ["", "-1", "x", "²", "9" * 40])
def test_a_release_has_a_number(text: str) -> None:
    with pytest.raises(NotFound):
        number(text)
    assert number("12") == 12


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/facts?q=x", "/facts?q=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_page_of_the_console(text: str, path: str) -> None:
    assert formatting.safe_path(text) == path


def test_a_page_shows_no_sentence_of_an_address() -> None:
    assert formatting.done_text("approve", "3").startswith("Release 3 is approved")
    assert formatting.done_text("approve", "3 <b>") == ""
    assert formatting.done_text("call this number", "3") == ""


def test_every_status_has_a_shape_and_not_only_a_colour() -> None:
    shapes: dict[str, set[str]] = {}
    for word in (*FactStatus, "live", "failed", "running", "retired"):
        shapes.setdefault(formatting.mark(word).kind, set()).add(formatting.mark(word).shape)
    assert sorted(len(found) for found in shapes.values()) == [1, 1, 1, 1]
    assert len(set().union(*shapes.values())) == 4


def test_times_are_shown_in_utc() -> None:
    assert formatting.utc(None) == "never"
    assert formatting.iso(NOW) == "2026-11-21T12:00:00+00:00"
    assert formatting.ago(NOW - timedelta(hours=3), NOW) == "3 h ago"
    assert formatting.ago(NOW, NOW) == "0 s ago"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthenticated("x"), 401),
        (NotFound("x"), 404),
        (Busy("x"), 409),
        (FactdError("x"), 409),
        (StaleState("x"), 409),
        (Unstorable("x"), 422),
        (StoreError("x"), 503),
    ],
)
def test_an_error_has_a_status(error: FactdError | StoreError, status: int) -> None:
    assert status_of(error) == status


def test_text_from_users_is_escaped() -> None:
    rows: dict[str, object] = {"me": None, "path": "/", "done": "", "status": 404}
    shown = TEMPLATES.get_template("refused.html").render(rows, sentence="<script>x</script>")
    assert "<script>x" not in shown and "&lt;script&gt;x" in shown


def test_every_action_has_a_kind_of_target() -> None:
    assert {action.kind for action in ACTIONS.values()} == {"release", "fact", ""}
    assert all(name == action.name for name, action in ACTIONS.items())
