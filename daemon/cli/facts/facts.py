"""The commands `factd ingest`, `factd facts` and `factd plan`. They load no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.planning.plan import Planned
from factd.daemon.status.fact_explanation import explain_fact, fact_line, short_fact_line
from factd.daemon.tasks.edit import planned_now
from factd.store import queries
from factd.store.model.facts import Fact, FactStatus, Ruling

facts_app = typer.Typer(no_args_is_help=True, help="Facts: list, explain and rule on them.")
Ids = Annotated[
    list[str], typer.Argument(metavar="ID…", help="Ids of facts, or the beginnings of ids.")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="A fact's id, or the beginning of it.")]


def ingest(
    file: Annotated[Path, typer.Argument(help="A JSONL or CSV file, one fact update a line.")],
    known: Annotated[
        bool,
        typer.Option(help="The base model holds these facts already: they are never written."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Ingest a JSONL or CSV file of fact updates. Bad lines are listed and left out."""
    with reported_errors():
        app = configured_app()
        if not file.is_file():
            raise Refused(f"{file} is not a file; name a JSONL or CSV file")
        report = ingest_file(app.ledger, app.prompts, file, known=known)
    bad = [{"line": b.number, "reason": b.reason, "excerpt": b.excerpt} for b in report.bad]
    counts = {
        "lines": report.lines,
        "new": report.new,
        "unchanged": report.unchanged,
        "pending": report.pending,
    }
    summary = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [f"{summary}, {len(bad)} bad", *(f"line {b['line']}: {b['reason']}" for b in bad)]
    show({**counts, "bad": bad}, lines, as_json=as_json)


def show_facts(facts: Sequence[Fact], *, as_json: bool) -> None:
    """Print facts, one a line."""
    data = [fact.as_json() for fact in facts]
    show(data, [fact_line(fact) for fact in facts] or ["no facts"], as_json=as_json)


@facts_app.command("list")
def facts_list(
    status: Annotated[FactStatus | None, typer.Option(help="Only facts of this status.")] = None,
    relation: Annotated[str | None, typer.Option(help="Only facts of this relation id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only facts of this subject id.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Only facts that came through this source ([sources.NAME]).")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many facts.")] = 50,
    as_json: Json = False,
) -> None:
    """List fact versions, ordered by id.

    With --status alone they come in the order in which they are written.
    """
    with reported_errors(), configured_app().ledger.read() as session:
        filters: dict[str, Any] = {"relation": relation, "channel": source, "limit": limit}
        if status and not subject:
            facts = queries.facts.in_write_order(session, status, **filters)
        else:
            only = (status,) if status else ()
            facts = queries.facts.list_facts(session, status=only, subject=subject, **filters)
    show_facts(facts, as_json=as_json)


@facts_app.command("show")
def facts_show(id_: Id, as_json: Json = False) -> None:
    """Show one fact version."""
    with reported_errors(), configured_app().ledger.read() as session:
        fact = queries.facts.get_fact(session, id_)
    show(fact.as_json(), [fact_line(fact)], as_json=as_json)


@facts_app.command("history")
def facts_history(
    subject: Annotated[str, typer.Argument(help="A subject's id.")],
    relation: Annotated[str, typer.Argument(help="A relation's id.")],
    as_json: Json = False,
) -> None:
    """List all versions of one subject and relation."""
    with reported_errors(), configured_app().ledger.read() as session:
        facts = queries.facts.history(session, subject, relation)
    show_facts(facts, as_json=as_json)


@facts_app.command("explain")
def facts_explain(id_: Id, as_json: Json = False) -> None:
    """Explain a fact: source, status, competitors, releases.

    Who claims it since when, why it has its status, which claims compete with it, and which
    releases carry it.
    """
    with reported_errors():
        explanation = explain_fact(configured_app().ledger, id_)
    show(explanation.as_json(), explanation.lines(), as_json=as_json)


def _rule(ids: list[str], ruling: Ruling, why: str, *, as_json: bool) -> None:
    """Record a ruling about the values of some facts, and print the facts as they are then."""
    with reported_errors():
        app = configured_app()
        about: dict[str, Any] = {
            "why": why,
            "who": common.operator_name(),
            "now": app.ledger.now(),
        }
        with app.ledger.begin() as session:
            facts = queries.resolution.rule(session, ids, ruling, app.ledger.resolver, **about)
    show_facts(facts, as_json=as_json)


@facts_app.command("withdraw")
def facts_withdraw(ids: Ids, why: Why = "withdrawn by hand", as_json: Json = False) -> None:
    """Take facts back: the next release is without them.

    `factd rollback --fact` makes and publishes that release at once.
    """
    _rule(ids, Ruling.WITHDRAWN, why, as_json=as_json)


@facts_app.command("reject")
def facts_reject(ids: Ids, why: Why = "rejected by hand", as_json: Json = False) -> None:
    """Never write these values again, whichever source claims them.

    `factd facts lift` undoes it.
    """
    _rule(ids, Ruling.REJECTED, why, as_json=as_json)


@facts_app.command("approve")
def facts_approve(ids: Ids, why: Why = "approved by hand", as_json: Json = False) -> None:
    """Let waiting facts pass.

    For facts that wait for their soak time, for references, for a second source, or for the
    approval of an insertion.
    """
    _rule(ids, Ruling.APPROVED, why, as_json=as_json)


@facts_app.command("pin")
def facts_pin(ids: Ids, why: Why = "pinned by hand", as_json: Json = False) -> None:
    """Let these values win, whatever else is claimed. `factd facts lift` undoes it."""
    _rule(ids, Ruling.PINNED, why, as_json=as_json)


@facts_app.command("lift")
def facts_lift(ids: Ids, as_json: Json = False) -> None:
    """Undo an earlier decision about these values: a pin, approval, rejection or withdrawal."""
    with reported_errors():
        app = configured_app()
        who, now = common.operator_name(), app.ledger.now()
        with app.ledger.begin() as session:
            facts = queries.resolution.lift_rulings(
                session, ids, app.ledger.resolver, who=who, now=now
            )
    show_facts(facts, as_json=as_json)


def plan(
    limit: Annotated[
        int, typer.Option(help="Print at most this many lines of each kind; JSON has all.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Show the next batch, and why each other fact waits."""
    with reported_errors():
        planned = planned_now(configured_app())
    data = {
        "live": planned.live,
        "facts": len(planned.facts),
        "added": list(planned.added),
        "removed": list(planned.removed),
        "waiting": planned.waiting,
        "queued": planned.queued,
        "insertions": list(planned.insertions),
        "closed": planned.closed or planned.under_way or None,
        "changed": planned.changed,
    }
    show(data, plan_lines(planned, limit), as_json=as_json)


def plan_lines(planned: Planned, limit: int) -> list[str]:
    """The plan for the terminal, at most `limit` lines of each kind."""
    facts = {fact.id: fact for fact in planned.facts}
    lines = [f"live release {planned.live}; next: {len(planned.facts)} facts"]
    closed = planned.closed or planned.under_way
    lines += [f"closed    {closed}"] if closed else []
    flags = dict.fromkeys(
        planned.insertions, "  (insertion: the base model does not know the subject)"
    )
    lines += [f"+ {fact_line(facts[id_])}{flags.get(id_, '')}" for id_ in planned.added[:limit]]
    lines += [f"- {id_}" for id_ in planned.removed[:limit]]
    lines += [f"waits {short_fact_line(w.fact)}: {w.why}" for w in planned.waits[:limit]]
    lines += [f"queued {id_}: {reason}" for id_, reason in sorted(planned.queued.items())[:limit]]
    kinds = (planned.added, planned.removed, planned.waits, planned.queued)
    hidden = sum(max(0, len(rows) - limit) for rows in kinds)
    return lines + ([f"… and {hidden} lines more; --limit shows them"] if hidden else [])


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(facts_app, name="facts")
    for command in (ingest, plan):
        cli.command()(command)
