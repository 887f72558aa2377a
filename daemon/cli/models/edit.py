"""The commands `factd edit`, `factd rollback` and `factd demo`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, configured_app, reported_errors
from factd.daemon.cli.demo import run_demo
from factd.daemon.cli.operate.servers import fail_if_not_taken
from factd.daemon.cli.output import progress, show
from factd.daemon.editing.attempt import EditResult
from factd.daemon.publishing import publish as publishing
from factd.daemon.publishing.hand_over import hand_over_due
from factd.daemon.status.handovers import handover_lines
from factd.daemon.tasks import take_back
from factd.daemon.tasks.demo_worlds import DEFAULT, chosen_world
from factd.daemon.tasks.edit import plan_and_edit


def edit(
    publish: Annotated[bool, typer.Option(help="Publish the candidate if it is accepted.")] = False,
    again: Annotated[
        bool, typer.Option(help="Edit even if the same batch was rejected before.")
    ] = False,
    why: Why = "edit",
    as_json: Json = False,
) -> None:
    """Plan a batch, write it into the weights and check it.

    The result is an accepted or rejected candidate. Exit code 1 if it is rejected.
    """
    with reported_errors(), writing(configured_app()) as app, progress() as report_progress:
        who = common.operator_name()
        edited = plan_and_edit(app, who=who, why=why, again=again, progress=report_progress)
        parts = (app.ledger, app.paths, app.versions, app.fleet)
        if publish and edited.release is not None:
            publishing.publish(*parts, app.config.approvals, edited.release)
        handovers = hand_over_due(*parts)
    show(edited.as_json(), [edited_line(edited), *handover_lines(handovers)], as_json=as_json)
    fail_if_not_taken(handovers)
    _fail_if_rejected(edited)


def edited_line(edited: EditResult) -> str:
    """A candidate's outcome in one line."""
    outcome = f"release {edited.release}" if edited.decision.accepted else "rejected"
    return (
        f"candidate {edited.candidate}: {edited.facts} facts, {edited.edits} edits, "
        f"{edited.seconds['edit']:.1f} s, {outcome}"
    )


def _fail_if_rejected(edited: EditResult) -> None:
    if not edited.decision.accepted:
        reasons = "; ".join(edited.decision.reasons)
        common.fail(f"candidate {edited.candidate} was rejected: {reasons}")


def rollback(
    to: Annotated[
        int | None,
        typer.Option(
            "--to", help="Go back to this release: a link is swapped, no model is loaded."
        ),
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option("--fact", help="Take this fact back and publish without it; may be repeated."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", help="Take back all facts that came with this batch.")
    ] = None,
    why: Why = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Go back to an earlier release, or take facts or a batch back.

    Going back with --to freezes factd, so that no edit replaces the release; `factd unfreeze` lifts
    the freeze.
    """
    if [to is not None, bool(fact), batch is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of --to N, --fact ID …, --batch ID")
    started = time.monotonic()
    if to is not None:
        _roll_back_to(to, why, started, as_json=as_json)
        return
    with reported_errors(), writing(configured_app()) as app:
        ids = list(fact or take_back.facts_of_batch(app.ledger, str(batch)))
        who = common.operator_name()
        with progress() as report_progress:
            edited = take_back.take_back(app, ids, who=who, why=why, progress=report_progress)
        handovers = hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    show(edited.as_json(), [edited_line(edited), *handover_lines(handovers)], as_json=as_json)
    fail_if_not_taken(handovers)
    _fail_if_rejected(edited)


def _roll_back_to(number: int, why: str, started: float, *, as_json: bool) -> None:
    """Make an earlier release live, here and on the servers.

    The leases are seized: a process that changes releases or hands them over now must stop.
    """
    with reported_errors():
        app = configured_app()
        was_on_disk = app.versions.has(number)
        with writing(app, seize=True) as own:
            parts = (own.ledger, own.paths, own.versions, own.fleet)
            who = common.operator_name()
            release = publishing.roll_back_to(*parts, number, who=who, why=why)
        live_seconds = time.monotonic() - started
        handovers = hand_over_due(app.ledger, app.paths, app.versions, app.fleet, seize=True)
    seconds = time.monotonic() - started
    data = {
        **release.as_json(),
        "seconds": round(seconds, 3),
        "handovers": [handover.as_json() for handover in handovers],
    }
    again = f"version {number} was not on disk; it was written again from its base and delta"
    line = (
        f"release {number} is live after {live_seconds:.2f} s; "
        "factd is frozen, `factd unfreeze` lifts the freeze"
    )
    lines = [line] if was_on_disk else [again, line]
    show(data, [*lines, *handover_lines(handovers)], as_json=as_json)
    fail_if_not_taken(handovers)


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", help="A new folder, or the folder of an earlier demo.")
    ] = Path("demo"),
    model: Annotated[
        str,
        typer.Option(
            help="reference: the model that comes with factd. smollm2: a real model, which "
            "`factd models get smollm2` fetches; the gates may refuse what it learns."
        ),
    ] = DEFAULT,
    as_json: Json = False,
) -> None:
    """Run the whole cycle on the reference model, or on a real one.

    It ingests, edits, checks, publishes, takes one fact back and rolls back.
    """
    with reported_errors():
        figures = run_demo(chosen_world(model), directory, quiet=as_json)
    (directory / "demo.json").write_text(
        json.dumps(figures, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    if as_json:
        show(figures, [], as_json=True)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    for command in (edit, rollback, demo):
        cli.command()(command)
