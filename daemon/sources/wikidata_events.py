"""Wikidata's EventStreams: server-sent events that say which items changed.

This source claims nothing. It points another source, the watch-list, to the items. Each pull
listens for some seconds, starting from `Last-Event-ID`. Repeated and disordered events are normal:
an event's `meta.id` is stored, so that it counts once, and the watch-list requests the item's
current revision, so that the order does not matter. Canary events are dropped. The pointers and the
last event id are stored together.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import Field

from factd.daemon.errors import SourceFailed
from factd.daemon.network.client import Client, shown_url
from factd.daemon.sources import RemoteSettings, SourcePage, SourcePages, SourceReader, SourceTools
from factd.daemon.sources.wikidata import is_id
from factd.store.model.facts import Receipt

EVENTS = 500  # the most events of one page
RECONNECTS = 10  # in one pull


class WikidataEventsSettings(RemoteSettings):
    """[sources.wikidata_events]"""

    url: str = Field(
        default="https://stream.wikimedia.org/v2/stream/recentchange", pattern="^https?://"
    )
    """The event stream of recent changes."""
    points_to: str = "wikidata"
    """The source that reads the items."""
    wiki: str = "wikidatawiki"
    """The wiki whose events count."""
    items: tuple[str, ...] = ()
    """Only these items; empty: every item, and the watch-list decides."""
    listen_seconds: float = Field(default=20.0, gt=0)
    """Time that one pull listens."""


Settings = WikidataEventsSettings  # the plugin loader looks for this name


def pages(
    settings: WikidataEventsSettings, cursor: Mapping[str, Any], tools: SourceTools
) -> SourcePages:
    """The events of some seconds, as pointers. The cursor: {last_event_id}."""
    client = tools.client(settings)
    last = str(cursor.get("last_event_id", ""))
    until = client.clock() + settings.listen_seconds
    reconnects = 0
    while client.clock() < until and reconnects < RECONNECTS:
        heard: list[ServerSentEvent] = []
        for event in _listen(client, settings, last, until - client.clock()):
            heard.append(event)
            last = event.id or last
            if len(heard) == EVENTS:
                yield _page(settings, heard, last, tools)
                heard = []
        if heard:
            yield _page(settings, heard, last, tools)
        reconnects += 1
        client.sleep(min(settings.retry_wait_seconds, max(0.0, until - client.clock())))


def _listen(
    client: Client, settings: WikidataEventsSettings, last: str, seconds: float
) -> Iterator[ServerSentEvent]:
    """Events until the connection ends or the time is over.

    Raises: SourceFailed: the connection was refused, or is not an event stream.
    """
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    headers |= {"Last-Event-ID": last} if last else {}
    heard = False
    try:
        with client.stream(settings.url, headers=headers, seconds=seconds) as response:
            for event in EventSource(response).iter_sse():
                heard = True
                yield event
    except SSEError as error:
        raise SourceFailed(
            f"{shown_url(settings.url)} is not an event stream: {error}; check `url`"
        ) from error
    except httpx.TimeoutException:
        return  # the time is over, or no event came
    except httpx.TransportError as error:
        if not heard:
            raise SourceFailed(
                f"{shown_url(settings.url)}: {error or type(error).__name__}"
            ) from error


def _page(
    settings: WikidataEventsSettings, events: list[ServerSentEvent], last: str, tools: SourceTools
) -> SourcePage:
    titles = {}
    for event in events:
        try:
            data = json.loads(event.data)
            meta = data["meta"]
            is_canary = meta.get("domain") == "canary"
            is_edit = data.get("wiki") == settings.wiki and data.get("type") in ("edit", "new")
            if is_edit and not is_canary:
                titles[f"event:{meta['id']}"] = str(data.get("title", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # an unreadable event is skipped: the watch-list finds the item later
    seen = tools.seen(titles)
    wanted = {
        key: title
        for key, title in titles.items()
        if key not in seen and is_id(title) and (not settings.items or title in settings.items)
    }
    return SourcePage(
        lines=(),
        cursor={"last_event_id": last},
        receipt=Receipt(file=shown_url(settings.url), retrieved_at=tools.now()),
        seen=wanted,
        points={settings.points_to: sorted(set(wanted.values()))},
    )


_: SourceReader = pages
