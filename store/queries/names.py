"""Names of things in the database, and who was renamed."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import Table, bindparam, insert, select
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.model.facts import WRITTEN, FactUpdate
from factd.store.model.names import Names, joined, named
from factd.store.schema.facts import EntityRow, FactRow, NameRow

PARAMETERS = 800
ENTITIES = cast(Table, EntityRow.__table__)


def note_names(session: Session, updates: Iterable[FactUpdate]) -> None:
    """Keep the names that some claims use."""
    fresh = named(updates)
    there: dict[str, Names] = {}
    for part in chunks(sorted(fresh), PARAMETERS):
        query = select(EntityRow.id, EntityRow.labels, EntityRow.aliases)
        rows = session.execute(query.where(EntityRow.id.in_(part)))
        there |= {id_: _names(labels, aliases) for id_, labels, aliases in rows}
    new = [_values(id_, names) for id_, names in fresh.items() if id_ not in there]
    if new:
        session.execute(insert(EntityRow), new)
    more = {id_: joined(there[id_], names) for id_, names in fresh.items() if id_ in there}
    changed = [_values(id_, names) for id_, names in more.items() if names != there[id_]]
    _note_labels(session, fresh, there)
    if changed:
        columns: dict[str, Any] = {
            k: bindparam(f"new_{k}") for k in ("labels", "aliases", "renamed")
        }
        statement = ENTITIES.update().where(ENTITIES.c.id == bindparam("new_id")).values(columns)
        session.execute(statement, [{f"new_{k}": v for k, v in row.items()} for row in changed])


def _note_labels(session: Session, fresh: Mapping[str, Names], there: Mapping[str, Names]) -> None:
    """Let what was not called so before be found by its new labels."""
    rows = [
        {"name": name, "entity_id": id_}
        for id_, names in fresh.items()
        for name in names.folded - (there[id_].folded if id_ in there else frozenset())
    ]
    if rows:
        session.execute(insert(NameRow), rows)


def _names(labels: dict[str, dict[str, str]], aliases: dict[str, list[str]]) -> Names:
    return Names(labels=labels, aliases={k: tuple(v) for k, v in aliases.items()})


def _values(id_: str, names: Names) -> dict[str, object]:
    aliases = {k: list(v) for k, v in names.aliases.items()}
    return {"id": id_, "labels": names.labels, "aliases": aliases, "renamed": names.renamed}


def names_of(session: Session, id_: str) -> Names:
    """Every name that a source used for a thing."""
    row = session.get(EntityRow, id_, populate_existing=True)
    return _names(row.labels, row.aliases) if row else Names()


def renamed_subjects(session: Session, *, limit: int) -> dict[str, Names]:
    """Subjects of current facts whose label changed, by id."""
    written = select(FactRow.subject_id).where(
        FactRow.subject_id == EntityRow.id, FactRow.status.in_(WRITTEN)
    )
    query = select(EntityRow).where(EntityRow.renamed, written.exists())
    rows = session.scalars(query.order_by(EntityRow.id).limit(limit))
    return {row.id: _names(row.labels, row.aliases) for row in rows}
