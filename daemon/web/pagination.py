"""Lists in parts, the same for pages and API.

Where a part ends is a text that fits into an address.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from factd.daemon.app import App
from factd.daemon.web.errors import BadRequest
from factd.store import queries, views
from factd.store.model.facts import Fact, FactStatus
from factd.store.model.operations import AuditLogEntry
from factd.store.queries.fact_search import FactFilter
from factd.store.views.overviews import CandidateLine, ReleaseLine

T = TypeVar("T")
LIMIT, MOST = 50, 200  # items of a part: by default, at most
LONGEST = 200  # characters of a search text
LARGEST = 2**31 - 1  # the largest number of a row

NO_PLACE = "`after` is not a place in this list; begin again without it"
OTHER_LIST = "`after` belongs to another list; begin again without it"


@dataclass(frozen=True, kw_only=True)
class ListPart(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next: str | None = None  # `after` of the next part; None: this is the last part


def encode_place(key: tuple[str, ...]) -> str:
    """The key of a part's last row as a text for `after`."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode_place(text: str) -> tuple[str, ...] | None:
    """The key in a text of `after`; None for an empty text.

    Raises: BadRequest: the text holds no key.
    """
    if not text:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        key = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadRequest(NO_PLACE) from error
    if not isinstance(key, list) or not all(isinstance(x, str) and is_storable(x) for x in key):
        raise BadRequest(NO_PLACE)
    return tuple(key)


def is_storable(text: str) -> bool:
    """The text is printable and short enough for a query."""
    return len(text) <= LONGEST and "\0" not in text and text.isprintable()


def fact_search(
    *, text: str = "", status: str = "", relation: str = "", source: str = ""
) -> FactFilter:
    """The search for facts that a request asks for. Raises: BadRequest."""
    if not all(is_storable(given) for given in (text, relation, source)):
        raise BadRequest(f"a search has at most {LONGEST} printable characters; shorten it")
    if status and status not in list(FactStatus):
        raise BadRequest(f"no status {status[:20]!r}; the statuses are {', '.join(FactStatus)}")
    chosen = FactStatus(status) if status else None
    return FactFilter(text=text.strip(), status=chosen, relation=relation, channel=source)


def facts(app: App, search: FactFilter, *, after: str = "", limit: int = LIMIT) -> ListPart[Fact]:
    """A part of the facts that a search finds. Raises: BadRequest."""
    key = decode_place(after)
    with app.ledger.read() as session:
        try:
            result = queries.fact_search.search(session, search, limit=limit, after=key)
        except ValueError as error:
            raise BadRequest(OTHER_LIST) from error
    more = encode_place(result.after) if result.after else None
    return ListPart(items=result.facts, next=more)


def releases(app: App, *, after: str = "", limit: int = LIMIT) -> ListPart[ReleaseLine]:
    """A part of the releases, newest first. Raises: BadRequest."""
    return _numbered(app, views.overviews.releases, lambda r: r.number, after, limit)


def candidates(app: App, *, after: str = "", limit: int = LIMIT) -> ListPart[CandidateLine]:
    """A part of the candidates, newest first. Raises: BadRequest."""
    return _numbered(app, views.overviews.candidates, lambda c: c.id, after, limit)


def audit(app: App, *, after: str = "", limit: int = LIMIT) -> ListPart[AuditLogEntry]:
    """A part of the audit log, newest first. Raises: BadRequest."""
    return _numbered(app, views.overviews.audit_lines, lambda line: line.id, after, limit)


def _numbered(
    app: App, query: Callable[..., Sequence[T]], number: Callable[[T], int], after: str, limit: int
) -> ListPart[T]:
    """A part of a list ordered by number.

    One row more than the limit is read, to see whether the list goes on.
    """
    with app.ledger.read() as session:
        rows = query(session, limit=limit + 1, before=_number(after))
    more = encode_place((str(number(rows[limit - 1])),)) if len(rows) > limit else None
    return ListPart(items=tuple(rows[:limit]), next=more)


def _number(after: str) -> int | None:
    key = decode_place(after)
    if key is None:
        return None
    if len(key) != 1 or not (key[0].isascii() and key[0].isdigit()) or int(key[0][:11]) > LARGEST:
        raise BadRequest(OTHER_LIST)
    return int(key[0])
