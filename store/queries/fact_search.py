"""Search for facts by name, id, status, relation or source.

Each page reads a bounded number of rows through an index.
"""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, true, tuple_
from sqlalchemy.orm import Session

from factd.store.model.facts import Fact, FactStatus
from factd.store.model.names import folded
from factd.store.queries.facts import FACTS, facts_by_id
from factd.store.schema.facts import NameRow

SCANNED_ROWS = 2000  # most rows that are read for one page
MATCHED_SUBJECTS = 50  # most things whose name begins with the text
FACT_ID = re.compile("[0-9a-f]{4,16}")


@dataclass(frozen=True, kw_only=True)
class FactFilter:
    """What to search for; an empty field matches every fact."""

    text: str = ""  # the beginning of a name or of a fact's id, or a subject's whole id
    status: FactStatus | None = None
    relation: str = ""
    channel: str = ""

    def matches(self, row: Any) -> bool:
        """Whether a row has the status, relation and channel; the text is not compared."""
        return (
            (self.status is None or row.status == self.status)
            and (not self.relation or row.relation == self.relation)
            and (not self.channel or row.channel == self.channel)
        )


@dataclass(frozen=True, kw_only=True)
class FactPage:
    """One page of facts, and the place where the next page begins."""

    facts: tuple[Fact, ...]
    after: tuple[str, ...] | None  # pass it to `search` for the next page; None: no more facts


def search(
    session: Session, wanted: FactFilter, *, limit: int, after: tuple[str, ...] | None = None
) -> FactPage:
    """A page of the facts that match a filter; at most `limit`.

    One index answers one field of the filter and sets the order: by subject for a text or a
    channel, in the order facts are written for a status, otherwise by id. At most SCANNED_ROWS
    rows of it are compared with the other fields, so a page may be short or empty although more
    facts follow.

    after: where the page begins, from the page before.
    Raises: ValueError: `after` comes from a search in another order.
    """
    where, order = _index_condition(session, wanted)
    columns = [FACTS.c.id, FACTS.c.status, FACTS.c.relation, FACTS.c.channel, *order]
    query = select(*dict.fromkeys(columns)).where(where, _after_condition(order, after))
    rows = session.execute(query.order_by(*order).limit(SCANNED_ROWS)).all()
    chosen, last = list[str](), None
    for row in rows:
        if len(chosen) == limit:
            break
        last = row
        chosen += [row.id] if wanted.matches(row) else []
    facts = {fact.id: fact for fact in facts_by_id(session, chosen)}
    is_end = last is None or (last is rows[-1] and len(rows) < SCANNED_ROWS)
    key = None if is_end else tuple(str(getattr(last, column.name)) for column in order)
    return FactPage(facts=tuple(facts[id_] for id_ in chosen), after=key)


def _index_condition(session: Session, wanted: FactFilter) -> tuple[Any, tuple[Any, ...]]:
    """The condition that an index answers, and the order of that index."""
    facts = FACTS.c
    if wanted.text:
        return _text_condition(session, wanted.text), (facts.subject_id, facts.id)
    if wanted.status:
        return facts.status == wanted.status, (facts.turn, facts.id)
    if wanted.relation:
        return facts.relation == wanted.relation, (facts.id,)
    if wanted.channel:
        return facts.channel == wanted.channel, (facts.subject_id, facts.id)
    return true(), (facts.id,)


def _text_condition(session: Session, text: str) -> Any:
    """The subject's name or the fact's id begins with the text, or the subject's id is the text."""
    name = folded(text)
    query = select(NameRow.entity_id).where(
        NameRow.name >= name, NameRow.name < name + "\U0010ffff"
    )
    rows = session.scalars(query.order_by(NameRow.name).limit(MATCHED_SUBJECTS * 4))
    subjects = list(dict.fromkeys(rows))[:MATCHED_SUBJECTS]
    conditions = [FACTS.c.subject_id.in_([text, *subjects])]
    if FACT_ID.fullmatch(text):
        conditions.append(FACTS.c.id.between(text, f"{text}g"))
    return or_(*conditions)


def _after_condition(order: tuple[Any, ...], after: tuple[str, ...] | None) -> Any:
    if after is None:
        return true()
    if len(after) != len(order):
        raise ValueError("this page belongs to another list; start at its first page")
    values = [float(v) if c is FACTS.c.turn else v for c, v in zip(order, after, strict=True)]
    return tuple_(*order) > tuple_(*values) if len(order) > 1 else order[0] > values[0]
