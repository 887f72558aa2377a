"""Queries for the names of things, and for subjects whose name changed."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import Table, bindparam, insert, select
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.model.facts import WRITTEN, FactUpdate
from factd.store.model.names import Names, merged_names, names_in_claims
from factd.store.schema.facts import EntityRow, FactRow, NameRow

PARAMETERS = 800  # ids in one IN list
ENTITIES = cast(Table, EntityRow.__table__)


def save_names(session: Session, updates: Iterable[FactUpdate]) -> None:
    """Add the names that some claims use to the stored names."""
    claimed = names_in_claims(updates)
    stored: dict[str, Names] = {}
    for part in chunks(sorted(claimed), PARAMETERS):
        query = select(EntityRow.id, EntityRow.labels, EntityRow.aliases)
        rows = session.execute(query.where(EntityRow.id.in_(part)))
        stored |= {id_: _names(labels, aliases) for id_, labels, aliases in rows}
    new = [_values(id_, names) for id_, names in claimed.items() if id_ not in stored]
    if new:
        session.execute(insert(EntityRow), new)
    merged = {
        id_: merged_names(stored[id_], names) for id_, names in claimed.items() if id_ in stored
    }
    changed = [_values(id_, names) for id_, names in merged.items() if names != stored[id_]]
    _index_new_labels(session, claimed, stored)
    if changed:
        columns: dict[str, Any] = {
            k: bindparam(f"new_{k}") for k in ("labels", "aliases", "renamed")
        }
        statement = ENTITIES.update().where(ENTITIES.c.id == bindparam("new_id")).values(columns)
        session.execute(statement, [{f"new_{k}": v for k, v in row.items()} for row in changed])


def _index_new_labels(
    session: Session, claimed: Mapping[str, Names], stored: Mapping[str, Names]
) -> None:
    """Add the labels that a thing did not have before to the search index."""
    rows = [
        {"name": name, "entity_id": id_}
        for id_, names in claimed.items()
        for name in names.folded - (stored[id_].folded if id_ in stored else frozenset())
    ]
    if rows:
        session.execute(insert(NameRow), rows)


def _names(labels: dict[str, dict[str, str]], aliases: dict[str, list[str]]) -> Names:
    return Names(labels=labels, aliases={k: tuple(v) for k, v in aliases.items()})


def _values(id_: str, names: Names) -> dict[str, object]:
    aliases = {k: list(v) for k, v in names.aliases.items()}
    return {"id": id_, "labels": names.labels, "aliases": aliases, "renamed": names.renamed}


def names_of(session: Session, id_: str) -> Names:
    """Every name that any source used for a thing; empty `Names` for an unknown thing."""
    row = session.get(EntityRow, id_, populate_existing=True)
    return _names(row.labels, row.aliases) if row else Names()


def renamed_subjects(session: Session, *, limit: int) -> dict[str, Names]:
    """The subjects of pending or active facts whose label has changed, with their names.

    By subject id; at most `limit`.
    """
    written = select(FactRow.subject_id).where(
        FactRow.subject_id == EntityRow.id, FactRow.status.in_(WRITTEN)
    )
    query = select(EntityRow).where(EntityRow.renamed, written.exists())
    rows = session.scalars(query.order_by(EntityRow.id).limit(limit))
    return {row.id: _names(row.labels, row.aliases) for row in rows}
