"""Pulling a source: each page is stored in one transaction with the cursor after it.

A frozen source, and a source that asked us to wait, are skipped. A source that fails keeps its
cursor, and the wait before the next try grows. A source that suddenly claims far more than on a
usual day is frozen before that page is stored.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from factd.daemon.errors import Busy, FactdError, Refused, SourceFailed, SourceGone
from factd.daemon.ledger import Ledger
from factd.daemon.log import bound, carried, log
from factd.daemon.network.client import Client
from factd.daemon.paths import Paths
from factd.daemon.plugins import ConfiguredSource
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.sources import PullResult, RemoteSettings, SourcePage, SourceTools
from factd.daemon.tracing import span
from factd.store import queries
from factd.store.database.chunks import chunks
from factd.store.errors import StoreError
from factd.store.ingest import ingest
from factd.store.ingest.ingest import IngestReport
from factd.store.ingest.parsing import BadLine, ParsedLine, read_updates
from factd.store.model.facts import Receipt, Terms
from factd.store.model.sources import SourceState

T = TypeVar("T")
SIDE_BY_SIDE = 8  # sources that are pulled at the same time
LINES = 10_000  # of a file, in one transaction
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 60, 3600
IDS_KEPT_DAYS = 30  # how long ids of events and deliveries are kept, to find repeats


def ingest_file(
    ledger: Ledger,
    prompts: PromptSettings,
    path: Path,
    *,
    terms: Terms | None = None,
    known: bool = False,
) -> IngestReport:
    """Store the claims of a JSONL or CSV file, some thousand lines at a time.

    After a crash, ingesting the file again stores the rest.
    """
    now, total = ledger.now(), IngestReport()
    receipt = Receipt(file=path.name, retrieved_at=now)
    for part in chunks(read_updates(path, prompts.catalogue), LINES):
        with ledger.begin() as session:
            total += ingest.ingest(
                session, part, ledger.resolver, receipt=receipt, now=now, terms=terms, known=known
            )
    _warn_of_baked(total)
    return total


def _warn_of_baked(report: IngestReport) -> None:
    """Warn of withdrawn facts that are baked into the base, where no edit can take them out."""
    if report.still_baked:
        facts = list(report.still_baked[:5])
        log.warning("baked facts taken back", facts=len(report.still_baked), first=facts)


def pull(
    ledger: Ledger,
    paths: Paths,
    prompts: PromptSettings,
    sources: Mapping[str, ConfiguredSource],
    name: str,
) -> PullResult:
    """Pull one source.

    Raises: Refused: the configuration has no source of this name. Busy: another process pulls the
    source. SourceFailed: the source failed, and the time of the next try is stored.
    """
    source = sources.get(name)
    if source is None:
        known = ", ".join(sources) or "none"
        raise Refused(f"no source {name!r}; the configuration has: {known}")
    about = bound(source=name)
    with _alone(paths, name), span("pull", source=name), about, ExitStack() as stack:
        with ledger.begin() as session:
            state = queries.sources.source_state(session, name)
            now = ledger.now()
            if state.frozen:
                return PullResult(source=name, why=f"frozen: {state.frozen}")
            if state.not_before and state.not_before > now:
                return PullResult(source=name, why=next_try(state))
            queries.sources.save_state(session, name, pulled_at=now)
        try:
            result = _pages(ledger, prompts, source, state.cursor, stack)
        except SourceFailed as error:
            _note_failure(ledger, name, state.failures + 1, error)
            raise
        if not result.why:
            with ledger.begin() as session:
                done = {
                    "failures": 0,
                    "error": "",
                    "not_before": None,
                    "succeeded_at": ledger.now(),
                }
                queries.sources.save_state(session, name, **done)
    return result


def next_try(state: SourceState) -> str:
    """Why a source is not pulled yet: after a failure, and when it is tried again."""
    reason = state.error or "the source asked to wait"
    return f"{reason}; next try at {state.not_before:%H:%M:%S}"


def pull_all(
    ledger: Ledger, paths: Paths, prompts: PromptSettings, sources: Mapping[str, ConfiguredSource]
) -> list[PullResult]:
    """Pull every enabled source, several at a time.

    A source that fails does not stop the others.
    """
    names = [name for name, source in sources.items() if source.settings.enabled]

    def pulled(name: str) -> PullResult:
        try:
            return pull(ledger, paths, prompts, sources, name)
        except (FactdError, StoreError) as error:
            return PullResult(source=name, why=str(error))

    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="pull") as pool:
        results = list(pool.map(carried(pulled), names))
    with ledger.begin() as session:
        before = ledger.now() - timedelta(days=IDS_KEPT_DAYS)
        queries.sources.delete_old_keys(session, before=before)
    return results


def _pages(
    ledger: Ledger,
    prompts: PromptSettings,
    source: ConfiguredSource,
    cursor: Mapping[str, Any],
    stack: ExitStack,
) -> PullResult:
    total = PullResult(source=source.name)
    generator = source.pages(source.settings, cursor, tools(ledger, prompts, source, stack))
    stack.callback(generator.close)
    report: IngestReport | None = None
    while True:
        try:
            page = next(generator) if report is None else generator.send(report)
        except StopIteration:
            return total
        report = _store(ledger, source, page)
        if report is None:
            with ledger.begin() as session:
                why = queries.sources.source_state(session, source.name).frozen
            return replace(total, why=f"frozen: {why}")
        total = replace(
            total,
            files=total.files + 1,
            lines=total.lines + report.lines,
            new=total.new + report.new,
            bad=total.bad + len(report.bad),
        )


class _Flood(Exception):
    """A page brings too many claims. Its transaction is rolled back."""


def _store(ledger: Ledger, source: ConfiguredSource, page: SourcePage) -> IngestReport | None:
    """Store a page and everything that belongs to it, in one transaction.

    None: it brings too many claims, so nothing was stored and the source is frozen.
    """
    settings, name, now = source.settings, source.name, ledger.now()
    lines = [_spoken_for(line, settings.speaks_for) for line in page.lines]
    try:
        with ledger.begin() as session:
            terms = settings.terms(name)
            report = ingest.ingest(
                session, lines, ledger.resolver, receipt=page.receipt, now=now, terms=terms
            )
            queries.sources.count_claims(session, name, now.date(), report.new)
            if why := too_many(session, source, now):
                raise _Flood(why)
            queries.sources.mark_seen(session, name, page.seen, now=now)
            for other, keys in page.points.items():
                queries.sources.add_pointers(session, other, keys, now=now)
            until = page.receipt.retrieved_at
            queries.sources.delete_pointers(session, name, page.looked_at, until=until)
            queries.sources.clear_delivery_bodies(session, page.deliveries)
            if page.cursor is not None:
                queries.sources.save_state(session, name, cursor=dict(page.cursor))
    except _Flood as flood:
        with ledger.begin() as session:
            queries.sources.save_state(session, name, frozen=str(flood))
        log.error("source frozen", source=name, why=str(flood))
        return None
    _warn_of_baked(report)
    return report


def _spoken_for(line: ParsedLine | BadLine, names: Sequence[str]) -> ParsedLine | BadLine:
    if not names or isinstance(line, BadLine) or line.update.source in names:
        return line
    reason = f"source {line.update.source!r} is not in speaks_for of this source"
    return BadLine(number=line.number, reason=reason, excerpt=line.update.id)


def too_many(session: Any, source: ConfiguredSource, now: datetime) -> str:
    """Why a source has claimed too much today.

    Empty if it has not. Repeated claims do not count.
    """
    settings, day = source.settings, now.date()
    today = queries.sources.claims_on(session, source.name, day)
    if settings.max_claims_per_day and today > settings.max_claims_per_day:
        return f"{today} claims on {day}, max_claims_per_day is {settings.max_claims_per_day}"
    usual = queries.sources.usual_claims(session, source.name, day)
    if not settings.volume_factor or usual is None or today <= settings.volume_floor:
        return ""
    if today > settings.volume_factor * max(1.0, usual):
        return (
            f"{today} claims on {day}, {usual:.0f} are usual; if they are good, "
            f"`factd sources unfreeze {source.name}`"
        )
    return ""


def _note_failure(ledger: Ledger, name: str, failures: int, error: SourceFailed) -> None:
    wait = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(failures - 1, 10))
    seconds = error.retry_seconds if error.retry_seconds is not None else wait
    values: dict[str, Any] = {"failures": failures, "error": str(error)[:500]}
    values["not_before"] = ledger.now() + timedelta(seconds=min(seconds, 86400))
    if isinstance(error, SourceGone):
        values["frozen"] = str(error)
    with ledger.begin() as session:
        queries.sources.save_state(session, name, **values)
    log.warning("source failed", source=name, failures=failures, error=str(error))


@contextmanager
def _alone(paths: Paths, name: str) -> Iterator[None]:
    """Hold the lock of a source, so that one pull reads it at a time. Raises: Busy."""
    folder = paths.state / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy(f"source {name} is being pulled; try again when that is done") from error
        yield


def tools(
    ledger: Ledger, prompts: PromptSettings, source: ConfiguredSource, stack: ExitStack
) -> SourceTools:
    """What a source may use. Its HTTP clients are closed with the stack."""

    def client(settings: RemoteSettings) -> Client:
        made = Client(settings.limits(version("factd")), now=ledger.now)
        stack.callback(made.close)
        return made

    name = source.name

    def in_transaction(query: Callable[..., T]) -> Callable[..., T]:
        """A query that opens a short transaction of its own."""

        def run(*arguments: Any) -> T:
            with ledger.read() as session:
                return query(session, *arguments)

        return run

    return SourceTools(
        name=source.name,
        now=ledger.now,
        catalogue=prompts.catalogue,
        languages=tuple(dict.fromkeys((*prompts.write, *prompts.served))),
        client=client,
        seen=in_transaction(lambda session, keys: queries.sources.seen_items(session, name, keys)),
        seen_all=in_transaction(
            lambda session, prefix: queries.sources.seen_with_prefix(session, name, prefix)
        ),
        pointers=in_transaction(
            lambda session, limit: queries.sources.pointers(session, name, limit=limit)
        ),
        claimed=in_transaction(queries.facts.claims_of_source),
        facts=in_transaction(queries.facts.facts_by_id),
        deliveries=in_transaction(
            lambda session, after, limit: queries.sources.deliveries(
                session, name, after=after, limit=limit
            )
        ),
    )


def recheck(
    ledger: Ledger,
    prompts: PromptSettings,
    sources: Mapping[str, ConfiguredSource],
    subjects: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Ask sources about some subjects again, right before they are written. Changes are ingested.

    Only sources with a function `recheck` can be asked. subjects: by channel. Returns, for each
    channel that could not be asked, why.
    """
    unsure: dict[str, str] = {}
    for name, keys in sorted(subjects.items()):
        source = sources.get(name)
        if source is None or source.recheck is None or not source.settings.enabled:
            continue
        with ExitStack() as stack:
            try:
                pages = source.recheck(source.settings, keys, tools(ledger, prompts, source, stack))
                for page in pages:
                    if _store(ledger, source, page) is None:
                        unsure[name] = "the source was frozen while it was asked again"
            except SourceFailed as error:
                unsure[name] = f"the source could not be asked whether this still holds: {error}"
    return unsure
