"""Wikidata by a watch-list: what changed in the items that you name, 50 items per request.

First only the revisions are requested, then the items with a new revision or that another source
pointed to. A statement becomes a claim when its content changed, with the entity's last change as
the event time. A statement that is gone is taken back. The relations are those of the catalogue
whose id is a property (P38). Every base URL is a setting.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, field_validator

from factd.daemon.errors import SourceFailed
from factd.daemon.network.client import Client, HttpAnswer, retry_after, shown_url
from factd.daemon.sources import (
    RemoteSettings,
    SourcePage,
    SourcePages,
    SourceReader,
    SourceTools,
    receipt_of,
    withdrawal,
)
from factd.daemon.sources import _wikibase as wikibase
from factd.daemon.sources._wikibase import Item, Statement
from factd.store.database.chunks import chunks
from factd.store.ingest.parsing import ParsedLine
from factd.store.model.facts import Entity, Fact, FactUpdate, Receipt

BATCH = 50  # ids of one request: Wikidata's limit
POINTERS = 5000  # the most pointers of one pull
SOURCE = "wikidata"


class WikidataSettings(RemoteSettings):
    """[sources.wikidata]"""

    api: str = Field(default="https://www.wikidata.org/w/api.php", pattern="^https?://")
    """Address of the API."""
    items: tuple[str, ...] = ()
    """The watch-list."""
    items_file: Path | None = None
    """More of the watch-list, one id a line."""
    maxlag: int = Field(default=5, ge=1)
    """Wikidata refuses a request if its replicas lag more seconds than this."""
    licence: str = "CC0-1.0"
    """Licence of its data; kept with each claim."""
    min_references: int = Field(default=1, ge=0)
    """References that a claim needs."""
    soak_seconds: int = Field(default=86_400, ge=0)
    """Age, on Wikidata's clock, at which a claim starts to count."""
    risk_api: str = ""
    """Address of a model of the risk of a revert (Lift Wing); empty: none."""

    @field_validator("items")
    @classmethod
    def _are_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for id_ in value:
            if not is_id(id_):
                raise ValueError(f"{id_!r} is not an item's id like Q224")
        return value


Settings = WikidataSettings  # the plugin loader looks for this name


def is_id(text: str) -> bool:
    """The text is an item's id: Q and a number."""
    return text[:1] == "Q" and text[1:].isdigit()


def watched(settings: WikidataSettings) -> list[str]:
    """The whole watch-list, in order. Raises: SourceFailed: the file cannot be read."""
    ids = list(settings.items)
    if settings.items_file:
        try:
            lines = settings.items_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceFailed(f"{settings.items_file} cannot be read: {error}") from error
        ids += [line for line in lines if is_id(line)]
    return list(dict.fromkeys(ids))


def pages(settings: WikidataSettings, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
    """What changed since the revision of each item that was read last.

    The cursor: {at}, the place in the watch-list where the last pull ended. Without a watch-list
    the pointers of other sources are read. With one, pointers to other items are dropped.
    """
    pull = WikidataPull(settings, tools, tools.client(settings))
    ids = watched(settings)
    start = int(cursor.get("at", 0)) if int(cursor.get("at", 0)) < len(ids) else 0
    pointed = tools.pointers(POINTERS)
    wanted = [id_ for id_ in pointed if is_id(id_) and (not ids or id_ in set(ids))]
    others = sorted(set(pointed) - set(wanted))
    if others:
        receipt = Receipt(file=shown_url(settings.api), retrieved_at=tools.now())
        yield SourcePage(lines=(), cursor={"at": start}, receipt=receipt, looked_at=others)
    for part in chunks(wanted, BATCH):
        yield pull.page(part, {"at": start}, looked_at=part)
    for number, at in enumerate(range(start, len(ids), BATCH)):
        if number >= settings.max_pages:
            return
        part = ids[at : at + BATCH]
        changed = pull.changed(part)
        after = {"at": at + BATCH if at + BATCH < len(ids) else 0}
        if changed:
            yield pull.page(changed, after)


def recheck(
    settings: WikidataSettings, subjects: Sequence[str], tools: SourceTools
) -> Iterator[SourcePage]:
    """Ask whether the revisions that were read are still current. Yields what changed, as pages."""
    pull = WikidataPull(settings, tools, tools.client(settings))
    for part in chunks(filter(is_id, subjects), BATCH):
        changed = pull.changed(part)
        if changed:
            yield pull.page(changed, None)


@dataclass
class WikidataPull:
    """One pull: settings, tools, client, and the names that were looked up."""

    settings: WikidataSettings
    tools: SourceTools
    client: Client

    def __post_init__(self) -> None:
        self.names: dict[str, Entity] = {}

    def ask(self, ids: Sequence[str], props: str) -> tuple[HttpAnswer, Mapping[str, Any]]:
        """Request entities: the response and its JSON. Raises: SourceFailed."""
        parameters = {
            "action": "wbgetentities",
            "format": "json",
            "ids": "|".join(ids),
            "props": props,
            "languages": "|".join((*self.tools.languages, "mul")),
            "redirects": "yes",
            "maxlag": str(self.settings.maxlag),
        }
        answer = self.client.get(self.settings.api, params=parameters)
        try:
            data = json.loads(answer.body)
            if "error" in data:
                raise self._refused(answer, data["error"])
            if not isinstance(data["entities"], dict):
                raise ValueError("entities is not an object")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SourceFailed(f"{shown_url(answer.url)} sent no entities ({error})") from error
        return answer, data

    def _refused(self, answer: HttpAnswer, error: Mapping[str, Any]) -> SourceFailed:
        failed = SourceFailed(f"{shown_url(answer.url)} refused the request: {error.get('code')}")
        failed.retry_seconds = retry_after(answer.headers.get("retry-after"), self.tools.now())
        return failed

    def changed(self, ids: Sequence[str]) -> list[str]:
        """The ids of items whose revision differs from the one that was read last."""
        _, data = self.ask(ids, "info")
        seen = self.tools.seen(f"entity:{id_}" for id_ in ids)
        changed = []
        for key, entity in data["entities"].items():
            asked = (entity.get("redirects") or {}).get("from", key)
            now = "missing" if "missing" in entity else str(entity.get("lastrevid"))
            if seen.get(f"entity:{asked}") != now:
                changed.append(asked)
        return changed

    def page(
        self,
        ids: Sequence[str],
        cursor: Mapping[str, Any] | None,
        looked_at: Sequence[str] = (),
    ) -> SourcePage:
        """A page with the new claims of these items and the withdrawals of their deleted claims."""
        asked_at = self.tools.now()
        answer, data = self.ask(ids, "info|claims|labels|aliases")
        try:
            items = list(wikibase.items(data, self.relations, self.tools.languages))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceFailed(f"{self.settings.api} sent an entity without {error}") from error
        self.look_up(s.object for item in items for s in item.statements if s.is_item)
        updates: list[FactUpdate] = []
        seen: dict[str, str] = {}
        for item in items:
            updates += self.changes(item)
            names = {f"entity:{item.asked_as}", f"entity:{item.id}"}
            seen |= dict.fromkeys(names, str(item.revision))
        for id_ in wikibase.missing(data):
            updates += self.gone(id_, f"missing-{asked_at:%Y%m%d}", asked_at)
            seen[f"entity:{id_}"] = "missing"
        receipt = receipt_of(answer, asked_at)
        lines = [ParsedLine(number=n, update=update) for n, update in enumerate(updates, start=1)]
        return SourcePage(
            lines=lines, cursor=cursor, receipt=receipt, seen=seen, looked_at=looked_at
        )

    @property
    def relations(self) -> list[str]:
        """The relations of the catalogue that are Wikidata properties."""
        return [id_ for id_ in self.tools.catalogue if id_[0] == "P" and id_[1:].isdigit()]

    def look_up(self, ids: Iterator[str]) -> None:
        """Request the names of items that are objects."""
        for part in chunks(sorted(set(ids) - set(self.names)), BATCH):
            _, data = self.ask(part, "labels|aliases")
            for key, entity in data["entities"].items():
                if "missing" in entity:
                    continue
                asked = (entity.get("redirects") or {}).get("from", key)
                self.names[asked] = wikibase.named(entity, self.tools.languages)

    def changes(self, item: Item) -> list[FactUpdate]:
        """The new claims of an item, and withdrawals of the claims that it makes no longer."""
        claimed = self.tools.claimed(SOURCE, item.id)
        readable = [s for s in item.statements if not s.is_item or s.object in self.names]
        stored = {_claim_key(fact) for fact in claimed}
        names = json.dumps(item.named.as_json())
        fresh = [s for s in readable if (self.content(s), s.references, names) not in stored]
        risk = self.risk(item.revision) if fresh else None
        new = [self.update(item, statement, risk) for statement in fresh]
        still = {self.content(s) for s in readable}
        withdrawn = [
            withdrawal(fact, str(item.revision), item.modified)
            for fact in claimed
            if _content(fact.update) not in still
        ]
        if item.asked_as != item.id:  # it was merged into another item
            withdrawn += self.gone(item.asked_as, str(item.revision), item.modified)
        return new + withdrawn

    def content(self, statement: Statement) -> tuple[Any, ...]:
        """A statement's relation, object and validity."""
        object_ = self.object_of(statement).id
        return statement.relation, object_, statement.valid_from, statement.valid_to

    def gone(self, id_: str, revision: str, at: datetime) -> list[FactUpdate]:
        """Withdrawals of every claim about an item that does not exist any more."""
        return [withdrawal(fact, revision, at) for fact in self.tools.claimed(SOURCE, id_)]

    def object_of(self, statement: Statement) -> Entity:
        """A statement's object with its names. Redirects are followed."""
        if statement.is_item:
            return self.names[statement.object]
        names = dict.fromkeys(self.tools.languages, statement.object)
        return Entity(id=statement.object, labels=names)

    def update(self, item: Item, statement: Statement, risk: float | None) -> FactUpdate:
        """A statement as a claim."""
        return FactUpdate(
            source=SOURCE,
            revision=str(item.revision),
            event_time=item.modified,
            subject=item.named,
            relation=statement.relation,
            object=self.object_of(statement),
            valid_from=statement.valid_from,
            valid_to=statement.valid_to,
            references=statement.references,
            risk=risk,
        )

    def risk(self, revision: int) -> float | None:
        """The probability that a revision will be reverted.

        None: no model is configured or it failed.
        """
        if not self.settings.risk_api:
            return None
        url = f"{self.settings.risk_api.rstrip('/')}/{quote(str(revision))}"
        try:
            data = json.loads(self.client.get(url).body)
            return float(data["output"]["probabilities"]["true"])
        except (SourceFailed, ValueError, KeyError, TypeError):
            return None  # one signal of several: soak and references still apply


def _content(claim: FactUpdate) -> tuple[Any, ...]:
    return claim.relation, claim.object.id, claim.valid_from, claim.valid_to


def _claim_key(fact: Fact) -> tuple[Any, ...]:
    update = fact.update
    return _content(update), update.references, json.dumps(update.subject.as_json())


_: SourceReader = pages
