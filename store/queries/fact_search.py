"""Facts looked for by name, id, status, relation or source: every page reads a bounded number of rows through an index."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, true, tuple_
from sqlalchemy.orm import Session

from factd.store.model.facts import Fact, FactStatus
from factd.store.model.names import folded
from factd.store.queries.facts import FACTS, facts_by_id
from factd.store.schema.facts import NameRow

LOOKED_THROUGH = 2000  # rows for one page
NAMED = 50  # things whose name begins with what is looked for
FACT_ID = re.compile("[0-9a-f]{4,16}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for; what is empty does not matter."""

    text: str = ""  # the start of a name or of a fact's id, or a subject's whole id
    status: FactStatus | None = None
    relation: str = ""
    channel: str = ""

    def takes(self, row: Any) -> bool:
        """A row meets it, but for the text."""
        return (
            (self.status is None or row.status == self.status)
            and (not self.relation or row.relation == self.relation)
            and (not self.channel or row.channel == self.channel)
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of facts, and where the next one begins."""

    facts: tuple[Fact, ...]
    after: tuple[str, ...] | None  # None: there are no more


def search(
    session: Session, wanted: Wanted, *, limit: int, after: tuple[str, ...] | None = None
) -> Found:
    """A page of the facts that are wanted. Rows that meet a part of it are looked through, so many at most a page.

    Raises: ValueError: `after` is of another list.
    """
    where, order = _way(session, wanted)
    columns = [FACTS.c.id, FACTS.c.status, FACTS.c.relation, FACTS.c.channel, *order]
    query = select(*dict.fromkeys(columns)).where(where, _behind(order, after))
    rows = session.execute(query.order_by(*order).limit(LOOKED_THROUGH)).all()
    chosen, last = list[str](), None
    for row in rows:
        if len(chosen) == limit:
            break
        last = row
        chosen += [row.id] if wanted.takes(row) else []
    facts = {fact.id: fact for fact in facts_by_id(session, chosen)}
    over = last is None or (last is rows[-1] and len(rows) < LOOKED_THROUGH)
    key = None if over else tuple(str(getattr(last, column.name)) for column in order)
    return Found(facts=tuple(facts[id_] for id_ in chosen), after=key)


def _way(session: Session, wanted: Wanted) -> tuple[Any, tuple[Any, ...]]:
    """The condition that an index answers, and the order in which it does."""
    facts = FACTS.c
    if wanted.text:
        return _named(session, wanted.text), (facts.subject_id, facts.id)
    if wanted.status:
        return facts.status == wanted.status, (facts.turn, facts.id)
    if wanted.relation:
        return facts.relation == wanted.relation, (facts.id,)
    if wanted.channel:
        return facts.channel == wanted.channel, (facts.subject_id, facts.id)
    return true(), (facts.id,)


def _named(session: Session, text: str) -> Any:
    """Facts about what is called so; where a name or a subject's id fits, or the text begins a fact's id."""
    name = folded(text)
    query = select(NameRow.entity_id).where(
        NameRow.name >= name, NameRow.name < name + "\U0010ffff"
    )
    things = list(dict.fromkeys(session.scalars(query.order_by(NameRow.name).limit(NAMED * 4))))
    ways = [FACTS.c.subject_id.in_([text, *things[:NAMED]])]
    if FACT_ID.fullmatch(text):
        ways.append(FACTS.c.id.between(text, f"{text}g"))
    return or_(*ways)


def _behind(order: tuple[Any, ...], after: tuple[str, ...] | None) -> Any:
    if after is None:
        return true()
    if len(after) != len(order):
        raise ValueError("this place is of another list")
    values = [float(v) if c is FACTS.c.turn else v for c, v in zip(order, after, strict=True)]
    return tuple_(*order) > tuple_(*values) if len(order) > 1 else order[0] > values[0]
