"""An HTTP feed of fact updates in the ingest format.

The response is a JSON array, an object that holds one, or one object per line. The ETag (or else
Last-Modified) is stored only with the last page, because it says that the whole feed was read. A
feed in pages (`Link: rel=next`, or a key of the object) goes on at the page where it was
interrupted. A feed that takes a time is asked from the newest event time that was seen, less an
overlap. A truncated response is refused as a whole.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from factd.daemon.errors import SourceFailed
from factd.daemon.network.client import HttpAnswer, conditions, shown_url
from factd.daemon.sources import (
    LINES,
    RemoteSettings,
    SourcePage,
    SourcePages,
    SourceReader,
    SourceTools,
    receipt_of,
)
from factd.store.catalogue.catalogue import Catalogue
from factd.store.database.chunks import chunks
from factd.store.ingest.parsing import BadLine, ParsedLine, read_item, read_lines

DEPTH = 32  # the most levels of a document


class HttpFeedSettings(RemoteSettings):
    """[sources.http_feed]"""

    url: str = Field(pattern="^https?://")
    """Address of the feed."""
    items: str = "updates"
    """Key of the object that holds the claims."""
    next: str = "next"
    """Key of the object that holds the URL of the next page."""
    since_parameter: str = ""
    """Query parameter that takes a time; empty: none."""
    overlap_seconds: int = Field(default=3600, ge=0)
    """Time that is read again."""


Settings = HttpFeedSettings  # the plugin loader looks for this name


@dataclass(frozen=True, kw_only=True)
class Document:
    """One page of the feed."""

    lines: list[ParsedLine | BadLine]
    next: str | None


def pages(settings: HttpFeedSettings, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
    """The pages of the feed.

    The cursor: {validators, since} of the last complete reading, {next, walk} of one under way.
    """
    client = tools.client(settings)
    url, walk = str(cursor.get("next") or settings.url), dict(cursor.get("walk") or {})
    held = {k: v for k, v in cursor.items() if k in ("validators", "since")}
    for _ in range(settings.max_pages):
        first = url == settings.url
        headers = conditions(held.get("validators")) if first else {}
        answer = client.get(url, params=_since(settings, held) if first else None, headers=headers)
        if answer.status == 304:
            return
        if first:
            walk = {"validators": answer.validators, "since": held.get("since")}
        document = _read(settings, answer, tools.catalogue)
        walk["since"] = _latest(document.lines, walk.get("since"))
        receipt = receipt_of(answer, tools.now())
        *parts, last = chunks(document.lines, LINES) if document.lines else [[]]
        for part in parts:  # the cursor stays: after an interruption this page is read again
            yield SourcePage(lines=part, cursor=None, receipt=receipt)
        after = {**held, "next": document.next, "walk": walk} if document.next else walk
        yield SourcePage(lines=last, cursor=after, receipt=receipt)
        if not document.next:
            return
        url = document.next


def _since(settings: HttpFeedSettings, held: Mapping[str, Any]) -> dict[str, str] | None:
    if not settings.since_parameter or not held.get("since"):
        return None
    at = datetime.fromisoformat(held["since"]) - timedelta(seconds=settings.overlap_seconds)
    return {settings.since_parameter: at.isoformat()}


def _latest(lines: list[ParsedLine | BadLine], before: str | None) -> str | None:
    times = [
        x.update.event_time.astimezone(UTC).isoformat() for x in lines if isinstance(x, ParsedLine)
    ]
    return max((*times, *([before] if before else [])), default=None)


def _read(settings: HttpFeedSettings, answer: HttpAnswer, catalogue: Catalogue) -> Document:
    """Raises: SourceFailed: the document is truncated, or has another form."""
    shown, linked = shown_url(answer.url), answer.links.get("next")
    if _is_lines(answer):
        if answer.body and not answer.body.endswith(b"\n"):
            raise SourceFailed(
                f"{shown} sent a truncated last line; nothing was stored, the next pull tries again"
            )
        lines = list(read_lines(BytesIO(answer.body), catalogue))
        return Document(lines=lines, next=_next(settings, answer, linked))
    try:
        data = json.loads(answer.body.decode("utf-8"))
        if depth(data) > DEPTH:
            raise ValueError(f"deeper than {DEPTH} levels")
    except (ValueError, RecursionError) as error:
        raise SourceFailed(
            f"{shown} sent no complete JSON ({error}); "
            "nothing was stored, the next pull tries again"
        ) from error
    if isinstance(data, dict):
        linked = linked or data.get(settings.next)
        data = data.get(settings.items)
    if not isinstance(data, list):
        raise SourceFailed(
            f"{shown} has no list under the key {settings.items!r}; set `items` to the right key"
        )
    lines = [read_item(number, item, catalogue) for number, item in enumerate(data, start=1)]
    return Document(lines=lines, next=_next(settings, answer, linked))


def _is_lines(answer: HttpAnswer) -> bool:
    kind = answer.headers.get("content-type", "")
    return any(name in kind for name in ("ndjson", "jsonl", "json-seq", "jsonlines"))


def _next(settings: HttpFeedSettings, answer: HttpAnswer, linked: Any) -> str | None:
    """The next page's URL, which must be on the feed's own host: the token goes nowhere else."""
    if linked is None:
        return None
    url = urljoin(answer.url, str(linked))
    if urlsplit(url)[:2] not in (urlsplit(settings.url)[:2], urlsplit(answer.url)[:2]):
        raise SourceFailed(
            f"the next page {shown_url(url)} is on another host than the feed; "
            "give its host in `url`"
        )
    return url


def depth(data: Any) -> int:
    """The levels of a JSON document, counted without recursion, at most DEPTH + 1."""
    level, levels = [data], 0
    while level and levels <= DEPTH:
        levels += 1
        level = [child for item in level for child in _children(item)]
    return levels


def _children(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        yield from (child for child in item.values() if isinstance(child, dict | list))
    elif isinstance(item, list):
        yield from (child for child in item if isinstance(child, dict | list))


_: SourceReader = pages
