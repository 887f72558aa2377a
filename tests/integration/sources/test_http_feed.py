"""An HTTP feed from a real server gives each update once and never before its time.

This holds whatever the server does.
"""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from factd.daemon.app import App
from factd.daemon.errors import SourceFailed
from factd.daemon.ingestion.pull import pull
from factd.store import queries
from support.fakes.http import Asked, Fake, Reply, serving
from support.world import Clock, Maker, claim, fact_statuses

TABLE = """
[sources.news]
kind = "http_feed"
url = "{url}/feed"
allow_networks = ["127.0.0.0/8"]
retry_wait_seconds = 0.01
requests_per_minute = 1e9
{more}
"""
case = pytest.mark.case


def document(*rows: Any, **more: Any) -> bytes:
    return json.dumps({"updates": list(rows), **more}).encode()


class Feed:
    """A feed in pages, with an ETag; a page may be replaced by any reply."""

    def __init__(self) -> None:
        self.pages: list[list[Any]] = [[claim("HR", "EUR")]]
        self.etag = '"1"'
        self.instead: dict[int, list[Reply]] = {}

    def __call__(self, asked: Asked) -> Reply:
        number = int(asked.query.get("page", "0"))
        if self.instead.get(number):
            return self.instead[number].pop(0)
        if number == 0 and asked.headers.get("if-none-match") == self.etag:
            return Reply(status=304)
        more = {"next": f"/feed?page={number + 1}"} if number + 1 < len(self.pages) else {}
        headers = {"ETag": self.etag, "Content-Type": "application/json"}
        return Reply(body=document(*self.pages[number], **more), headers=headers)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def server(feed: Feed) -> Iterator[Fake]:
    with serving(feed) as found:
        yield found


@pytest.fixture
def app(make: Maker, server: Fake) -> App:
    return make(TABLE.format(url=server.url, more=""))


@case("http_feed", "pages, then nothing new", "every claim once; then 304 and no page")
def test_a_feed_is_walked_once_and_then_answers_304(app: App, feed: Feed, server: Fake) -> None:
    feed.pages = [[claim("HR", "EUR")], [claim("FR", "EUR")], [claim("IT", "EUR")]]
    assert (
        pull(app.ledger, app.paths, app.prompts, app.sources, "news").new,
        pull(app.ledger, app.paths, app.prompts, app.sources, "news").files,
    ) == (3, 0)
    assert server.asked[-1].headers["if-none-match"] == '"1"'
    feed.etag, feed.pages = '"2"', [*feed.pages, [claim("ES", "EUR")]]
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 1
    assert len(fact_statuses(app)) == 4


@case(
    "http_feed",
    "500 in the middle of a walk",
    "stored pages stay; the walk goes on at the page that failed",
)
def test_a_walk_goes_on_where_it_was_interrupted(
    app: App, feed: Feed, server: Fake, clock: Clock
) -> None:
    feed.pages = [[claim("HR", "EUR")], [claim("FR", "EUR")]]
    feed.instead[1] = [Reply(status=500)]
    with pytest.raises(SourceFailed, match="500"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert len(fact_statuses(app)) == 1
    why = pull(app.ledger, app.paths, app.prompts, app.sources, "news").why
    assert re.search(r"answered 500; next try at \d\d:\d\d:\d\d$", why)
    clock.advance(minutes=2)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 1
    assert [a.query.get("page") for a in server.asked] == [None, "1", "1"]
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").files == 0
    assert server.asked[-1].headers["if-none-match"] == '"1"'


@case("http_feed", "429 with Retry-After in seconds and as a date", "waits, or comes back then")
@pytest.mark.parametrize(
    ("wish", "minutes"), [("600", 10), ("Sat, 21 Nov 2099 12:00:00 GMT", 24 * 60)]
)
def test_a_wish_for_peace_is_heard(
    wish: str, minutes: int, app: App, feed: Feed, clock: Clock
) -> None:
    feed.instead[0] = [Reply(status=429, headers={"Retry-After": wish})]
    with pytest.raises(SourceFailed, match="429"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    clock.advance(minutes=minutes - 1)
    why = pull(app.ledger, app.paths, app.prompts, app.sources, "news").why
    assert re.search(r"answered 429; next try at \d\d:\d\d:\d\d$", why)
    clock.advance(minutes=2)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 1


@case(
    "http_feed",
    "body shorter than announced, half a JSON document, a line without its end",
    "nothing of it is taken, no ETag is kept",
)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=document(claim("HR", "EUR")), announced=10_000, headers={"ETag": '"9"'}),
        Reply(body=document(claim("HR", "EUR"))[:-5], headers={"ETag": '"9"'}),
        Reply(
            body=json.dumps(claim("HR", "EUR")).encode()[:-5],
            headers={"ETag": '"9"', "Content-Type": "application/x-ndjson"},
        ),
        Reply(body=b"<html>", headers={"ETag": '"9"'}),
        Reply(body=b"[" * 100_000),
        Reply(body=b'{"a":' * 60 + b"1" + b"}" * 60),
        Reply(body=b'{"updates": 7}'),
    ],
)
def test_what_is_not_whole_is_not_taken(
    reply: Reply, app: App, feed: Feed, server: Fake, clock: Clock
) -> None:
    feed.instead[0] = [reply] * 3
    with pytest.raises(SourceFailed):
        pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert fact_statuses(app) == {}
    clock.advance(hours=1)
    feed.instead.clear()
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 1
    assert "if-none-match" not in server.asked[-1].headers


@case(
    "http_feed",
    "gzip; a 10 GB answer; a slow loris",
    "unpacked; cut at max_bytes; left after timeout_seconds",
)
def test_sizes_and_times_are_bounded(make: Maker, feed: Feed, server: Fake, clock: Clock) -> None:
    more = "max_bytes = 100000\ntimeout_seconds = 0.5\nattempts = 1"
    app = make(TABLE.format(url=server.url, more=more))
    packed = gzip.compress(document(claim("HR", "EUR")))
    endless = Reply(parts=(b"x" * 65536 for _ in range(200_000)), announced=10**10)
    slow = Reply(parts=(b"[" for _ in range(100)), announced=100, pause_seconds=0.1)
    feed.instead[0] = [endless, slow, Reply(body=packed, headers={"Content-Encoding": "gzip"})]
    for reason in ("max_bytes", "timed out|too long"):
        with pytest.raises(SourceFailed, match=reason):
            pull(app.ledger, app.paths, app.prompts, app.sources, "news")
        clock.advance(hours=1)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 1


@case(
    "http_feed",
    "a bad item among good ones",
    "the item is set aside with its reason; the others are taken",
)
def test_a_bad_item_loses_no_good_one(app: App, feed: Feed) -> None:
    feed.pages = [[claim("HR", "EUR"), {"x": 1}, 7, claim("FR", "EUR")]]
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert (found.new, found.bad) == (2, 2)


@case("http_feed", "JSON lines", "read line by line")
def test_json_lines_are_read(app: App, feed: Feed) -> None:
    body = b"".join(json.dumps(claim(c, "EUR")).encode() + b"\n" for c in ("HR", "FR"))
    feed.instead[0] = [Reply(body=body + b"{x\n", headers={"Content-Type": "application/x-ndjson"})]
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert (found.new, found.bad) == (2, 1)


@case("http_feed", "410", "the source is frozen until an operator looks")
def test_a_feed_that_is_gone_is_frozen(app: App, feed: Feed, clock: Clock) -> None:
    feed.instead[0] = [Reply(status=410)]
    with pytest.raises(SourceFailed):
        pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    clock.advance(days=9)
    assert "gone for good" in pull(app.ledger, app.paths, app.prompts, app.sources, "news").why


@case("http_feed", "a next page on another host", "refused: a token goes nowhere else")
def test_a_next_page_on_another_host_is_refused(app: App, feed: Feed) -> None:
    feed.instead[0] = [Reply(body=document(claim("HR", "EUR"), next="http://127.0.0.2/feed"))]
    with pytest.raises(SourceFailed, match="another host"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "news")


@case("http_feed", "a page that names itself as the next", "max_pages bounds the pull")
def test_a_circle_of_pages_ends(make: Maker, feed: Feed, server: Fake) -> None:
    app = make(TABLE.format(url=server.url, more="max_pages = 5"))
    feed.instead[0] = [Reply(body=document(claim("HR", "EUR"), next="/feed?page=9"))]
    feed.instead[9] = [Reply(body=document(next="/feed?page=9"))] * 20
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").files == 5


@case("http_feed", "a cursor parameter", "asked from the newest event time, less an overlap")
def test_a_cursor_is_sent_with_an_overlap(make: Maker, feed: Feed, server: Fake) -> None:
    app = make(TABLE.format(url=server.url, more='since_parameter = "since"'))
    pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert [a.query.get("since") for a in server.asked] == [None, "2022-12-31T23:00:00+00:00"]


@case(
    "every source",
    "100 times its usual number of claims",
    "frozen before that page is stored, reported, unfrozen by hand",
)
def test_a_flood_freezes_the_source(make: Maker, feed: Feed, server: Fake, clock: Clock) -> None:
    app = make(TABLE.format(url=server.url, more="volume_factor = 3\nvolume_floor = 5"))
    for day in range(4):
        feed.pages, feed.etag = [[claim(f"T{day}{i}", "EUR") for i in range(2)]], f'"{day}"'
        assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 2
        clock.advance(days=1)
    flood = [claim(f"X{i}", "EUR") for i in range(7)]
    feed.pages, feed.etag = [flood], '"flood"'
    assert (
        "7 claims on 2026-11-25, 2 are usual"
        in pull(app.ledger, app.paths, app.prompts, app.sources, "news").why
    )
    assert len(fact_statuses(app)) == 8
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").why.startswith("frozen")
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "news", frozen="")
        queries.sources.forget_usual_claims(session, "news")
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "news").new == 7


@case(
    "every source",
    "a claim in another source's name",
    "set aside where `speaks_for` does not list it",
)
def test_a_channel_speaks_only_for_its_own(make: Maker, feed: Feed, server: Fake) -> None:
    app = make(TABLE.format(url=server.url, more='speaks_for = ["test"]'))
    feed.pages = [[claim("HR", "EUR"), claim("FR", "EUR", source="cldr")]]
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    assert (found.new, found.bad) == (1, 1)


@case(
    "every source",
    "provenance",
    "channel, licence, trust, URL, payload hash and times are kept with each claim",
)
def test_provenance_is_kept(make: Maker, server: Fake) -> None:
    app = make(TABLE.format(url=server.url, more='trust = 80\nlicence = "CC0"\nsoak_seconds = 60'))
    pull(app.ledger, app.paths, app.prompts, app.sources, "news")
    from factd.store import queries

    with app.ledger.begin() as session:
        (fact,) = queries.facts.list_facts(session)
    how = fact.provenance
    assert (how.channel, how.trust, how.licence, how.line) == ("news", 80, "CC0", 1)
    assert how.file == f"{server.url}/feed"
    assert len(how.payload_hash) == 64
    assert how.soak_until is not None and (how.soak_until - fact.update.event_time).seconds == 60
