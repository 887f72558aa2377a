"""Commands that need a model (imported when they run): edit, rollback, demo."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, opened, sentences
from factd.daemon.cli.operate.servers import handed_over, handover_lines, refuse_failed
from factd.daemon.cli.output import progress, show


def edit(
    publish: Annotated[bool, typer.Option(help="Publish an accepted candidate.")] = False,
    again: Annotated[bool, typer.Option(help="Also a batch that was rejected before.")] = False,
    why: Why = "edit",
    as_json: Json = False,
) -> None:
    """Plan, solve, check; leaves an accepted or rejected candidate. Exit 1 where it was rejected."""
    from factd.daemon.publishing import publish as publishing
    from factd.daemon.tasks.edit import plan_and_edit

    with sentences(), writing(opened()) as app, progress() as told:
        found = plan_and_edit(app, who=common.who(), why=why, again=again, progress=told)
        if publish and found.release is not None:
            publishing.publish(
                app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, found.release
            )
        given = handed_over(app)
    show(found.as_json(), [verdict(found), *handover_lines(given)], as_json=as_json)
    refuse_failed(given)
    if not found.decision.accepted:
        common.fail(
            f"candidate {found.candidate} was rejected: {'; '.join(found.decision.reasons)}"
        )


def verdict(found: Any) -> str:
    """A candidate's outcome in one line."""
    said = f"candidate {found.candidate}: {found.facts} facts, {found.edits} edits, {found.seconds['edit']:.1f} s"
    return f"{said}, release {found.release}" if found.decision.accepted else f"{said}, rejected"


def rollback(
    to: Annotated[
        int | None, typer.Option("--to", help="A release: the link is swapped, no model is loaded.")
    ] = None,
    fact: Annotated[
        list[str] | None, typer.Option("--fact", help="Take facts back and publish without them.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", help="Take back all facts that came with a batch.")
    ] = None,
    why: Why = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Go back to a release, or take facts or a batch back."""
    from factd.daemon.tasks import take_back

    if [to is not None, bool(fact), batch is not None].count(True) != 1:
        raise typer.BadParameter("give one of --to N, --fact ID …, --batch ID")
    started = time.monotonic()
    if to is not None:
        _roll_back_to(to, why, started, as_json=as_json)
        return
    with sentences(), writing(opened()) as app:
        ids = list(fact or take_back.facts_of_batch(app.ledger, str(batch)))
        with progress() as told:
            found = take_back.take_back(app, ids, who=common.who(), why=why, progress=told)
        given = handed_over(app)
    show(found.as_json(), [verdict(found), *handover_lines(given)], as_json=as_json)
    refuse_failed(given)
    if not found.decision.accepted:
        common.fail(
            f"candidate {found.candidate} was rejected: {'; '.join(found.decision.reasons)}"
        )


def _roll_back_to(number: int, why: str, started: float, *, as_json: bool) -> None:
    """Back to a release, here and on the servers; who changes releases or hands over now is overtaken."""
    from factd.daemon.publishing import publish as publishing

    with sentences():
        app = opened()
        was_on_disk = app.versions.has(number)
        with writing(app, seize=True) as own:
            release = publishing.roll_back_to(
                own.ledger, own.paths, own.versions, own.fleet, number, who=common.who(), why=why
            )
        live = time.monotonic() - started
        given = handed_over(app, seize=True)
    seconds = time.monotonic() - started
    data = {
        **release.as_json(),
        "seconds": round(seconds, 3),
        "handovers": [g.as_json() for g in given],
    }
    again = [f"version {number} was not on disk; it was written again from its base and delta"]
    lines = [] if was_on_disk else again
    lines += [f"release {number} is live after {live:.2f} s; frozen, `factd unfreeze` to go on"]
    show(data, [*lines, *handover_lines(given)], as_json=as_json)
    refuse_failed(given)


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", help="A folder that is not there yet, or an earlier demo's.")
    ] = Path("demo"),
    as_json: Json = False,
) -> None:
    """The whole cycle on the reference model: ingest, edit, check, publish, roll back."""
    from factd.daemon.cli.demo import run_demo

    with sentences():
        found = run_demo(directory, quiet=as_json)
    (directory / "demo.json").write_text(
        json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    if as_json:
        show(found, [], as_json=True)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    for command in (edit, rollback, demo):
        cli.command()(command)
