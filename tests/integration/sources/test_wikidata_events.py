"""The Wikidata source reads EventStreams from a real server.

The tests cover repeats, disorder, canaries, silence and reconnects with Last-Event-ID.
"""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from factd.daemon.app import App
from factd.daemon.errors import SourceFailed
from factd.daemon.ingestion.pull import pull
from factd.store import queries
from support.fakes.http import Asked, Fake, Reply, serving
from support.fakes.wikidata import Wikidata
from support.world import Clock, Maker, fact_statuses

TABLE = """
[sources.wikidata_events]
url = "{url}/stream"
listen_seconds = {seconds}
allow_networks = ["127.0.0.0/8"]
retry_wait_seconds = 0.01
requests_per_minute = 1e9
[sources.wikidata]
api = "{url}/w/api.php"
soak_seconds = 0
allow_networks = ["127.0.0.0/8"]
requests_per_minute = 1e9
"""
case = pytest.mark.case


def event(number: int, title: str = "Q224", **more: Any) -> bytes:
    """One event as the stream sends it."""
    data = {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": {
            "id": f"uuid-{number}",
            "domain": "www.wikidata.org",
            "dt": "2026-11-21T00:00:00Z",
        },
        "type": "edit",
        "wiki": "wikidatawiki",
        "title": title,
        "revision": {"old": number - 1, "new": number},
    } | more
    id_ = json.dumps([{"topic": "eqiad.mediawiki.recentchange", "partition": 0, "offset": number}])
    return f"event: message\nid: {id_}\ndata: {json.dumps(data)}\n\n".encode()


def silence() -> Iterator[bytes]:
    """An answer whose first part comes after five seconds, and is empty."""
    time.sleep(5)
    yield b""


class Stream:
    """Each connection gets the next list of parts; then it is silent."""

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.wiki = Wikidata()

    def __call__(self, asked: Asked) -> Reply:
        if asked.path != "/stream":
            return self.wiki(asked)
        found = self.connections.pop(0) if self.connections else silence()
        if isinstance(found, Reply):
            return found
        return Reply(parts=found, headers={"Content-Type": "text/event-stream"})


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def server(stream: Stream) -> Iterator[Fake]:
    with serving(stream) as found:
        yield found


@pytest.fixture
def app(make: Maker, server: Fake) -> App:
    return make(TABLE.format(url=server.url, seconds=0.4))


def pointers(app: App) -> list[str]:
    with app.ledger.begin() as session:
        return queries.sources.pointers(session, "wikidata", limit=100)


def last_id(app: App) -> str:
    with app.ledger.begin() as session:
        state = queries.sources.source_state(session, "wikidata_events")
    return str(state.cursor.get("last_event_id", ""))


@case(
    "wikidata_events",
    "repeats, disorder, canaries, other wikis, broken events",
    "each item once; the watch-list asks for its current revision",
)
def test_a_stream_points_at_items_once(app: App, stream: Stream, server: Fake) -> None:
    canary = {"meta": {"id": "c", "domain": "canary"}}
    broken = b"data: {broken\n\ndata: 7\n\n: a comment\n\n"
    parts = [event(3), event(1), event(3), event(4, "Q9", **canary), event(5, "Talk:Q1"), broken]
    stream.connections = [[*parts, event(6, wiki="enwiki"), event(7, type="log"), event(2)]]
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events").new == 0
    assert pointers(app) == ["Q224"]
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new == 1
    assert pointers(app) == []
    assert fact_statuses(app) == {"Q224 Q26360 101": "pending"}


@case(
    "wikidata_events",
    "the connection breaks",
    "reconnects with Last-Event-ID; nothing is lost or doubled",
)
def test_it_reconnects_with_the_last_id(make: Maker, stream: Stream, server: Fake) -> None:
    app = make(
        TABLE.format(url=server.url, seconds=2)
    )  # time for two connections on a busy machine
    half = event(2, "Q142")
    stream.connections = [[event(1), half[: len(half) // 2]], [event(1), event(2, "Q142")]]
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events")
    assert pointers(app) == ["Q142", "Q224"]
    ids = [a.headers.get("last-event-id") for a in server.asked if a.path == "/stream"]
    assert ids[0] is None
    assert json.loads(ids[1] or "")[0]["offset"] == 1
    assert json.loads(last_id(app))[0]["offset"] == 2


@case("wikidata_events", "the next pull", "goes on from the last id that was stored")
def test_the_next_pull_goes_on(app: App, stream: Stream, server: Fake) -> None:
    stream.connections = [[event(1)]]
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events")
    before = len(server.asked)
    stream.connections = [[event(1), event(2, "Q142")]]
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events")
    assert json.loads(server.asked[before].headers["last-event-id"])[0]["offset"] == 1


@case("wikidata_events", "an endless flood of bytes without a line's end", "cut at max_bytes")
def test_a_flood_without_line_ends_is_cut(make: Maker, stream: Stream, server: Fake) -> None:
    small = "max_bytes = 1000000\nlisten_seconds"
    app = make(TABLE.format(url=server.url, seconds=5).replace("listen_seconds", small))
    stream.connections = [itertools.repeat(b"x" * 65536, 100_000)]
    with pytest.raises(SourceFailed, match="max_bytes"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events")


@case("wikidata_events", "refused, or no event stream", "an error; the id stays")
@pytest.mark.parametrize("reply", [Reply(status=500), Reply(body=b"<html>")])
def test_what_is_no_stream_is_an_error(reply: Reply, app: App, stream: Stream) -> None:
    stream.connections = [reply]
    with pytest.raises(SourceFailed):
        pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata_events")
    assert last_id(app) == ""


@case(
    "wikidata_events",
    "an item changes again while it is looked at",
    "the pointer stays for the next look",
)
def test_a_pointer_that_comes_during_a_look_stays(app: App, stream: Stream, clock: Clock) -> None:
    with app.ledger.begin() as session:
        queries.sources.add_pointers(session, "wikidata", ["Q224"], now=clock())
        looked_at = clock()
        clock.advance(seconds=1)
        queries.sources.add_pointers(session, "wikidata", ["Q224"], now=clock())
        queries.sources.delete_pointers(session, "wikidata", ["Q224"], until=looked_at)
    assert pointers(app) == ["Q224"]
