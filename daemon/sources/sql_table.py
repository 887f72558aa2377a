"""A table or view of a database, read from a watermark (updated_at, id) on.

Reading overlaps, so that late rows are found.

Its columns have the names of the ingest format: id, updated_at, subject_id, subject_label_LANG,
relation, object_id, object_label_LANG, and optionally subject_aliases_LANG (names with | between),
valid_from, valid_to, references, demand, withdrawn. A role that may only read is enough: the
connection is set to read only. A row that changes takes its earlier claim back. Every some hours
all ids are compared, and the claims of deleted rows are taken back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    MetaData,
    Row,
    Select,
    Table,
    create_engine,
    event,
    literal,
    select,
    tuple_,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from factd.daemon.config.secrets import secret_text
from factd.daemon.errors import SourceFailed
from factd.daemon.sources import (
    LINES,
    SourcePage,
    SourcePages,
    SourceReader,
    SourceSettings,
    SourceTools,
    withdrawal,
)
from factd.store.database.session import database_url
from factd.store.ingest.parsing import BadLine, ParsedLine, read_item
from factd.store.model.facts import FactUpdate, Receipt

NEEDED = ("id", "updated_at", "subject_id", "relation", "object_id")


class SqlTableSettings(SourceSettings):
    """[sources.sql_table]"""

    url: str = ""
    """URL of the database, with a role that may only read."""
    url_file: Path | None = None
    """A file that holds the URL, if it contains a password."""
    table: str = Field(pattern=r"^\w+(\.\w+)?$")
    """The table or view."""
    overlap_seconds: int = Field(default=600, ge=0)
    """Time that is read again, for rows that were committed late."""
    compare_seconds: int = Field(default=86_400, ge=0)
    """Time between two searches for deleted rows; 0: never."""
    statement_seconds: int = Field(default=60, ge=1)
    """Time for one statement."""
    max_pages: int = Field(default=500, ge=1)
    """Pages of one pull, at most."""

    @model_validator(mode="after")
    def _has_a_url(self) -> "SqlTableSettings":
        if bool(self.url) == bool(self.url_file):
            raise ValueError("give exactly one of url and url_file")
        return self

    def ready(self) -> None:
        """Check the URL's file. Raises: BadConfig: it cannot be read."""
        if self.url_file:
            secret_text(self.url_file)


Settings = SqlTableSettings  # the plugin loader looks for this name


def pages(settings: SqlTableSettings, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
    """Rows after the watermark.

    The cursor holds updated_at and compared_at. While more rows wait, it also holds at and id of
    the last row that was read.
    """
    receipt = Receipt(file=settings.table, retrieved_at=tools.now())
    try:
        with _connected(settings) as connection:
            table = _reflected(connection, settings)
            pull = TablePull(settings, table, connection, receipt, tools)
            yield from _changed(pull, dict(cursor))
    except (SQLAlchemyError, OSError, ArgumentError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise SourceFailed(
            f"{settings.table} cannot be read: {reason}; check url, table and the role's rights"
        ) from error


@contextmanager
def _connected(settings: SqlTableSettings) -> Iterator[Connection]:
    text = secret_text(settings.url_file) if settings.url_file else settings.url
    url = database_url(text)
    engine = create_engine(url)
    event.listen(engine, "connect", lambda c, _: _only_reading(c, url.get_backend_name(), settings))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _only_reading(connection: Any, backend: str, settings: SqlTableSettings) -> None:
    cursor = connection.cursor()
    if backend == "postgresql":
        cursor.execute(f"SET statement_timeout = {settings.statement_seconds * 1000}")
        cursor.execute("SET default_transaction_read_only = on")
        connection.commit()
    elif backend == "sqlite":
        cursor.execute("PRAGMA query_only = ON")
        cursor.execute(f"PRAGMA busy_timeout = {settings.statement_seconds * 1000}")
    cursor.close()


def _reflected(connection: Connection, settings: SqlTableSettings) -> Table:
    schema, _, name = settings.table.rpartition(".")
    table = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
    lacking = [column for column in NEEDED if column not in table.c]
    if lacking:
        raise SourceFailed(
            f"{settings.table} has no column {', '.join(lacking)}; "
            "make a view that names its columns so"
        )
    return table


@dataclass(frozen=True)
class TablePull:
    """The parts of one pull."""

    settings: SqlTableSettings
    table: Table
    connection: Connection
    receipt: Receipt
    tools: SourceTools

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of a query.

        The transaction is ended, so that none is open while they are stored.
        """
        rows = self.connection.execute(query).all()
        self.connection.rollback()
        return rows


def _changed(pull: TablePull, cursor: dict[str, Any]) -> SourcePages:
    mark = _time(cursor.get("updated_at"))
    start = _start(pull.settings, pull.table, cursor)
    for _ in range(pull.settings.max_pages):
        rows = pull.rows(_after(pull.table, start))
        if not rows:
            cursor.pop("at", None)
            break
        start = (rows[-1].updated_at, rows[-1].id)
        newest = _moment(rows[-1].updated_at)
        if mark is None or newest >= mark:
            cursor |= {"updated_at": newest.isoformat()}
        last = rows[-1].id if isinstance(rows[-1].id, int | str) else None  # JSON holds no others
        cursor |= {"at": newest.isoformat(), "id": last}
        lines = [_line(number, row, pull.tools) for number, row in enumerate(rows, start=1)]
        pairs = zip(rows, lines, strict=True)
        seen = {f"row:{r.id}": line.update.id for r, line in pairs if isinstance(line, ParsedLine)}
        back = _replaced_claims(seen, lines, pull.tools)
        yield SourcePage(
            lines=[*back, *lines], cursor=dict(cursor), receipt=pull.receipt, seen=seen
        )
    else:
        return  # more rows wait: ids are compared after the last row only
    yield from _deleted(pull, cursor)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _start(
    settings: SqlTableSettings, table: Table, cursor: Mapping[str, Any]
) -> tuple[Any, Any] | None:
    """Where to go on: after the last row if more wait, else at the watermark less the overlap."""
    at, mark = _time(cursor.get("at")), _time(cursor.get("updated_at"))
    if at:
        return _as(table.c.updated_at, at), cursor["id"]
    if mark:
        return _as(table.c.updated_at, mark - timedelta(seconds=settings.overlap_seconds)), None
    return None


def _replaced_claims(
    seen: Mapping[str, str], lines: Sequence[ParsedLine | BadLine], tools: SourceTools
) -> list[ParsedLine]:
    """The earlier claims of these rows, taken back where the row claims something else now."""
    before = tools.seen(seen)
    changed = {before[key]: id_ for key, id_ in seen.items() if before.get(key, id_) != id_}
    now = {line.update.id: line.update for line in lines if isinstance(line, ParsedLine)}
    return [
        ParsedLine(number=0, update=withdrawal(fact, claim.revision, claim.event_time))
        for fact in tools.facts(changed)
        if _content(fact.update) != _content(claim := now[changed[fact.id]])
    ]


def _content(claim: FactUpdate) -> tuple[Any, ...]:
    return *claim.pair, claim.object.id, claim.valid_from, claim.valid_to


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _after(table: Table, start: tuple[Any, Any] | None) -> Select[Any]:
    query = select(table).order_by(table.c.updated_at, table.c.id).limit(LINES)
    if start is None:
        return query
    at, id_ = start
    if id_ is None:
        return query.where(table.c.updated_at >= at)
    return query.where(tuple_(table.c.updated_at, table.c.id) > tuple_(literal(at), literal(id_)))


def _as(column: Column[Any], at: datetime) -> Any:
    """A time in the column's own form: text, or a time with or without a time zone."""
    if not isinstance(column.type, DateTime):
        return at.isoformat()
    return at if column.type.timezone else at.astimezone(UTC).replace(tzinfo=None)


def _line(number: int, row: Row[Any], tools: SourceTools) -> ParsedLine | BadLine:
    data = dict(row._mapping)
    moment = _moment(data["updated_at"]).isoformat()
    item: dict[str, Any] = {
        "source": tools.name,
        "revision": f"{data['id']}@{moment}",
        "event_time": moment,
        "relation": data["relation"],
        "subject": _entity(data, "subject"),
        "object": _entity(data, "object"),
    }
    for key in ("valid_from", "valid_to"):
        value = data.get(key)
        item[key] = value.isoformat()[:10] if isinstance(value, date) else value
    for key in ("references", "risk", "demand"):
        item[key] = data.get(key)
    item["withdrawn"] = bool(data.get("withdrawn"))
    return read_item(number, item, tools.catalogue)


def _entity(data: Mapping[str, Any], side: str) -> dict[str, Any]:
    labels, aliases = f"{side}_label_", f"{side}_aliases_"
    return {
        "id": str(data[f"{side}_id"]),
        "labels": {
            k.removeprefix(labels): v for k, v in data.items() if k.startswith(labels) and v
        },
        "aliases": {
            k.removeprefix(aliases): [name for name in str(v).split("|") if name.strip()]
            for k, v in data.items()
            if k.startswith(aliases) and v
        },
    }


def _deleted(pull: TablePull, cursor: dict[str, Any]) -> SourcePages:
    """Claims of deleted rows, taken back.

    All ids are compared; claims come some thousand at a time.
    """
    tools, now = pull.tools, pull.tools.now()
    last = datetime.fromisoformat(cursor["compared_at"]) if "compared_at" in cursor else None
    every = timedelta(seconds=pull.settings.compare_seconds)
    if not every or (last and now - last < every):
        return
    there = {f"row:{row.id}" for row in pull.rows(select(pull.table.c.id))}
    rows = tools.seen_all("row:")
    gone = sorted(key for key, id_ in rows.items() if id_ and key not in there)
    for start in range(0, max(1, len(gone)), LINES):
        part = gone[start : start + LINES]
        facts = tools.facts(rows[key] for key in part)
        lines = [
            ParsedLine(number=n, update=withdrawal(fact, f"{fact.update.revision}-deleted", now))
            for n, fact in enumerate(facts, start=1)
        ]
        whole = start + LINES >= len(gone)
        after = {**cursor, "compared_at": now.isoformat()} if whole else dict(cursor)
        seen = dict.fromkeys(part, "")
        yield SourcePage(lines=lines, cursor=after, receipt=pull.receipt, seen=seen)


_: SourceReader = pages
