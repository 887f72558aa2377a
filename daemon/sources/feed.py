"""RSS or Atom feeds as pointers: an entry names items that another source should read.

It claims nothing.
"""

import hashlib
import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import feedparser
from pydantic import Field, field_validator

from factd.daemon.errors import SourceFailed
from factd.daemon.network.client import conditions, shown_url
from factd.daemon.sources import (
    RemoteSettings,
    SourcePage,
    SourcePages,
    SourceReader,
    SourceTools,
    receipt_of,
)


class FeedSettings(RemoteSettings):
    """[sources.feed]"""

    url: str = Field(pattern="^https?://")
    """Address of the feed."""
    points_to: str = "wikidata"
    """The source that reads the items."""
    pattern: str = r"\b(Q[1-9]\d*)\b"
    """Finds an item's id in a link, title or id; one group."""

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"{value!r} needs exactly one group, around the item's id")
        return value


Settings = FeedSettings  # the plugin loader looks for this name


def pages(settings: FeedSettings, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
    """The entries that are new or have changed. The cursor: {validators}."""
    headers = conditions(cursor.get("validators"))
    answer = tools.client(settings).get(settings.url, headers=headers)
    if answer.status == 304:
        return
    parsed = feedparser.parse(
        BytesIO(answer.body), response_headers={"content-location": answer.url}
    )
    if not parsed.entries and (parsed.bozo or not parsed.version):
        raise SourceFailed(f"{shown_url(answer.url)} sent no RSS or Atom feed; check `url`")
    states = {_key(entry): _state(entry) for entry in parsed.entries}
    before = tools.seen(states)
    fresh = [e for e in parsed.entries if before.get(_key(e)) != states[_key(e)]]
    items = {id_ for entry in fresh for id_ in re.findall(settings.pattern, _text(entry))}
    yield SourcePage(
        lines=(),
        cursor={"validators": answer.validators},
        receipt=receipt_of(answer, tools.now()),
        seen={_key(entry): states[_key(entry)] for entry in fresh},
        points={settings.points_to: sorted(items)},
    )


def _key(entry: Any) -> str:
    name = str(entry.get("id") or entry.get("link") or entry.get("title") or "")
    return f"entry:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _state(entry: Any) -> str:
    return str(entry.get("updated") or entry.get("published") or "")[:100]


def _text(entry: Any) -> str:
    links = [str(link.get("href", "")) for link in entry.get("links", [])]
    return "\n".join([str(entry.get(key, "")) for key in ("id", "link", "title")] + links)


_: SourceReader = pages
