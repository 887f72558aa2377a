"""RSS and Atom as pointers, against a real server."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from factd.daemon.app import App
from factd.daemon.errors import SourceFailed
from factd.daemon.ingestion.pull import pull
from factd.store import queries
from support.fakes.http import Asked, Fake, Reply, serving
from support.world import Maker

TABLE = """
[sources.feed]
url = "{url}/feed.xml"
allow_networks = ["127.0.0.0/8"]
retry_wait_seconds = 0.01
requests_per_minute = 1e9
"""
ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>
<entry><id>tag:1</id><title>Croatia</title><updated>{at}</updated>
<link href="https://www.wikidata.org/wiki/Q224"/></entry></feed>"""
RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>
<item><guid>1</guid><title>About Q142</title><link>https://example.org/1</link></item></channel></rss>"""
BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{entities}]>\
<rss version="2.0"><channel>
<item><title>&z; Q1</title></item></channel></rss>"""
case = pytest.mark.case


class Site:
    def __init__(self) -> None:
        self.body = ATOM.format(at="2026-01-01T00:00:00Z").encode()

    def __call__(self, asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"1"':
            return Reply(status=304)
        return Reply(body=self.body, headers={"ETag": '"1"', "Content-Type": "application/xml"})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site) -> Iterator[Fake]:
    with serving(site) as found:
        yield found


@pytest.fixture
def app(make: Maker, server: Fake) -> App:
    return make(TABLE.format(url=server.url))


def pointers(app: App) -> list[str]:
    with app.ledger.begin() as session:
        found = queries.sources.pointers(session, "wikidata", limit=10)
        queries.sources.delete_pointers(session, "wikidata", found, until=app.ledger.now())
        queries.sources.save_state(session, "feed", cursor={})
    return found


@case(
    "feed",
    "Atom, RSS; the same entry again; an entry that was updated",
    "points at the items of new and updated entries, claims nothing",
)
def test_new_and_updated_entries_point_at_items(app: App, site: Site) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "feed")
    assert pointers(app) == ["Q224"]
    pull(app.ledger, app.paths, app.prompts, app.sources, "feed")
    assert pointers(app) == []
    site.body = ATOM.format(at="2026-02-01T00:00:00Z").encode()
    pull(app.ledger, app.paths, app.prompts, app.sources, "feed")
    assert pointers(app) == ["Q224"]
    site.body = RSS.encode()
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "feed").lines == 0
    assert pointers(app) == ["Q142"]


@case("feed", "304", "nothing")
def test_an_unchanged_feed_is_not_read(app: App) -> None:
    assert (
        pull(app.ledger, app.paths, app.prompts, app.sources, "feed").files,
        pull(app.ledger, app.paths, app.prompts, app.sources, "feed").files,
    ) == (1, 0)


@case(
    "feed",
    "HTML instead of a feed, an XML bomb",
    "an error, or an entry without what the bomb would add",
)
def test_what_is_no_feed_is_an_error(app: App, site: Site) -> None:
    site.body = b"<html><body>moved</body></html>"
    with pytest.raises(SourceFailed, match="no RSS or Atom feed"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "feed")


def test_an_xml_bomb_does_not_go_off(app: App, site: Site) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise(names))
    site.body = BOMB.format(entities=entities).encode()
    try:
        pull(app.ledger, app.paths, app.prompts, app.sources, "feed")
    except SourceFailed:
        return
    assert pointers(app) in ([], ["Q1"])
