"""Parts of lists, for pages and API alike, and the places in them as text that travels in an address."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from factd.daemon.app import App
from factd.daemon.web.errors import Mistaken
from factd.store import queries, views
from factd.store.model.facts import Fact, FactStatus
from factd.store.model.operations import AuditLogEntry
from factd.store.queries.fact_search import FactFilter
from factd.store.views.overviews import CandidateLine, ReleaseLine

T = TypeVar("T")
LIMIT, MOST = 50, 200
LONGEST = 200  # characters of what is looked for
LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Part(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next: str | None = None  # the place where the next part begins


def place(key: tuple[str, ...]) -> str:
    """A place in a list as text."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(text: str) -> tuple[str, ...] | None:
    """The place that a text means; None for an empty one. Raises: Mistaken: it means none."""
    if not text:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        found = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Mistaken("`after` is no place in this list; begin again without it") from error
    if not isinstance(found, list) or not all(isinstance(x, str) and clean(x) for x in found):
        raise Mistaken("`after` is no place in this list; begin again without it")
    return tuple(found)


def clean(text: str) -> bool:
    """A text that a database takes."""
    return len(text) <= LONGEST and "\0" not in text and text.isprintable()


def wanted(*, text: str = "", status: str = "", relation: str = "", source: str = "") -> FactFilter:
    """What is looked for. Raises: Mistaken."""
    if not all(clean(given) for given in (text, relation, source)):
        raise Mistaken(f"what is looked for has at most {LONGEST} characters that can be shown")
    if status and status not in list(FactStatus):
        raise Mistaken(f"no status {status[:20]!r}; there are {', '.join(FactStatus)}")
    chosen = FactStatus(status) if status else None
    return FactFilter(text=text.strip(), status=chosen, relation=relation, channel=source)


def facts(app: App, what: FactFilter, *, after: str = "", limit: int = LIMIT) -> Part[Fact]:
    """Facts that are wanted. Raises: Mistaken."""
    key = key_of(after)
    with app.ledger.read() as session:
        try:
            found = queries.fact_search.search(session, what, limit=limit, after=key)
        except ValueError as error:
            raise Mistaken("`after` is of another list; begin again without it") from error
    return Part(items=found.facts, next=place(found.after) if found.after else None)


def releases(app: App, *, after: str = "", limit: int = LIMIT) -> Part[ReleaseLine]:
    """The newest first. Raises: Mistaken."""
    return _numbered(app, views.overviews.releases, lambda r: r.number, after, limit)


def candidates(app: App, *, after: str = "", limit: int = LIMIT) -> Part[CandidateLine]:
    """The newest first. Raises: Mistaken."""
    return _numbered(app, views.overviews.candidates, lambda c: c.id, after, limit)


def audit(app: App, *, after: str = "", limit: int = LIMIT) -> Part[AuditLogEntry]:
    """The newest first. Raises: Mistaken."""
    return _numbered(app, views.overviews.audit_lines, lambda line: line.id, after, limit)


def _numbered(
    app: App, query: Callable[..., Sequence[T]], number: Callable[[T], int], after: str, limit: int
) -> Part[T]:
    """One row more than wanted tells whether there are others."""
    with app.ledger.read() as session:
        found = query(session, limit=limit + 1, before=_number(after))
    more = place((str(number(found[limit - 1])),)) if len(found) > limit else None
    return Part(items=tuple(found[:limit]), next=more)


def _number(after: str) -> int | None:
    key = key_of(after)
    if key is None:
        return None
    if len(key) != 1 or not (key[0].isascii() and key[0].isdigit()) or int(key[0][:11]) > LARGEST:
        raise Mistaken("`after` is of another list; begin again without it")
    return int(key[0])
