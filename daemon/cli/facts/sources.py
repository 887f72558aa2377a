"""Commands about sources, which need no model: pull, sources."""

from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.output import show
from factd.daemon.errors import Refused
from factd.store import queries
from factd.store.model.sources import SourceState

sources_app = typer.Typer(no_args_is_help=True, help="Sources of fact updates.")


def source_line(state: SourceState) -> str:
    """Where a source stands, in one line."""
    last = f"{state.succeeded_at:%Y-%m-%d %H:%M}" if state.succeeded_at else "never"
    lines = [f"{state.name:<16} last good pull {last}"]
    lines += [f"FROZEN {state.frozen}"] if state.frozen else []
    lines += [f"{state.failures} failures in a row: {state.error}"] if state.failures else []
    return "; ".join(lines)


@sources_app.command("list")
def sources_list(as_json: Json = False) -> None:
    """Every configured source and where it stands."""
    with sentences():
        app = opened()
        with app.ledger.read() as session:
            found = [queries.sources.source_state(session, name) for name in app.sources]
    data = [{**state.as_json(), "kind": app.sources[state.name].settings.kind} for state in found]
    show(data, [source_line(state) for state in found], as_json=as_json)


@sources_app.command("unfreeze")
def sources_unfreeze(name: str, as_json: Json = False) -> None:
    """Let a frozen source go on; what is usual for it is learned anew."""
    with sentences():
        app = opened()
        if name not in app.sources:
            raise Refused(f"no source {name!r}; the configuration has: {', '.join(app.sources)}")
        with app.ledger.begin() as session:
            was = queries.sources.source_state(session, name).frozen
            now = app.ledger.now()
            queries.sources.save_state(
                session, name, frozen="", failures=0, error="", not_before=None
            )
            queries.sources.forget_usual_claims(session, name)
            who = common.who()
            queries.releases.log_action(
                session, who=who, what=f"unfreeze source {name}", why=was, now=now
            )
    show({"source": name, "was_frozen": was or None}, [f"{name} goes on"], as_json=as_json)


def pull(
    source: Annotated[str | None, typer.Argument(help="Its name; all of them without.")] = None,
    as_json: Json = False,
) -> None:
    """Poll a source, or all of them, now."""
    from factd.daemon.ingestion.pull import pull as pulled
    from factd.daemon.ingestion.pull import pull_all

    with sentences():
        app = opened()
        found = (
            [pulled(app.ledger, app.paths, app.prompts, app.sources, source)]
            if source
            else pull_all(app.ledger, app.paths, app.prompts, app.sources)
        )
    lines = [
        f"{p.source}: {p.files} files, {p.lines} lines, {p.new} new, {p.bad} bad"
        + (f"; {p.why}" if p.why else "")
        for p in found
    ]
    data = found[0].as_json() if source else [p.as_json() for p in found]
    show(data, lines or ["no sources"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(sources_app, name="sources")
    cli.command()(pull)
