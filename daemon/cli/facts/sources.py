"""The commands `factd pull` and `factd sources`. They load no model."""

from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import pull as pull_one
from factd.daemon.ingestion.pull import pull_all
from factd.daemon.status.overview import source_line
from factd.store import queries

sources_app = typer.Typer(no_args_is_help=True, help="Sources of fact updates.")


@sources_app.command("list")
def sources_list(as_json: Json = False) -> None:
    """List the configured sources: last good pull, failures, whether a source is frozen."""
    with reported_errors():
        app = configured_app()
        with app.ledger.read() as session:
            states = [queries.sources.source_state(session, name) for name in app.sources]
    data = [{**state.as_json(), "kind": app.sources[state.name].settings.kind} for state in states]
    show(data, [source_line(state) for state in states], as_json=as_json)


@sources_app.command("unfreeze")
def sources_unfreeze(
    name: Annotated[str, typer.Argument(help="The source's name, as in [sources.NAME].")],
    as_json: Json = False,
) -> None:
    """Let a frozen source be polled again. factd learns anew how much is usual for the source."""
    with reported_errors():
        app = configured_app()
        if name not in app.sources:
            raise Refused(f"no source {name!r}; the configuration has: {', '.join(app.sources)}")
        with app.ledger.begin() as session:
            was_frozen = queries.sources.source_state(session, name).frozen
            queries.sources.save_state(
                session, name, frozen="", failures=0, error="", not_before=None
            )
            queries.sources.forget_usual_claims(session, name)
            queries.releases.log_action(
                session,
                who=common.operator_name(),
                what=f"unfreeze source {name}",
                why=was_frozen,
                now=app.ledger.now(),
            )
    lines = [f"{name} is polled again" if was_frozen else f"{name} was not frozen"]
    show({"source": name, "was_frozen": was_frozen or None}, lines, as_json=as_json)


def pull(
    source: Annotated[
        str | None, typer.Argument(help="The source's name. Without it: all sources.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Poll one source, or all of them, now."""
    with reported_errors():
        app = configured_app()
        parts = (app.ledger, app.paths, app.prompts, app.sources)
        pulls = [pull_one(*parts, source)] if source else pull_all(*parts)
    lines = [
        f"{p.source}: {p.files} files, {p.lines} lines, {p.new} new, {p.bad} bad"
        + (f"; {p.why}" if p.why else "")
        for p in pulls
    ]
    data = pulls[0].as_json() if source else [p.as_json() for p in pulls]
    show(data, lines or ["no sources are configured; see [sources.NAME]"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(sources_app, name="sources")
    cli.command()(pull)
