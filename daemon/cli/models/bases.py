"""The commands `factd rebase` and `factd bases`."""

from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, configured_app, reported_errors
from factd.daemon.cli.operate.servers import fail_if_not_taken
from factd.daemon.cli.output import progress, show
from factd.daemon.publishing import bases
from factd.daemon.publishing.hand_over import hand_over_due
from factd.daemon.status.handovers import handover_lines
from factd.daemon.tasks import rebase as rebasing
from factd.store import queries
from factd.store.model.bases import Base

bases_app = typer.Typer(
    no_args_is_help=True,
    help="Base models: the original model, and the bases baked by `factd rebase`.",
)
Number = Annotated[int, typer.Argument(metavar="K", help="A base's number.")]


def rebase(
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit log.")],
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the base before. No model is loaded.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bake the live release's facts into a new base model.

    This frees the capacity of the edited layers. Steps: bake, verify, compute statistics, publish.
    """
    about: dict[str, Any] = {"who": common.operator_name(), "why": why}
    result: rebasing.RebaseResult | rebasing.UndoResult
    with reported_errors(), writing(configured_app()) as app:
        if undo:
            result = rebasing.undo(app, **about)
        else:
            with progress() as report_progress:
                result = rebasing.rebase(app, progress=report_progress, **about)
        handovers = hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    show(result.as_json(), [*result.lines(), *handover_lines(handovers)], as_json=as_json)
    fail_if_not_taken(handovers)


@bases_app.command("list")
def bases_list(as_json: Json = False) -> None:
    """List bases, newest first. The original model is number 0."""
    with reported_errors():
        app = configured_app()
        with app.ledger.read() as session:
            baked = queries.bases.list_bases(session)
    lines = [base_line(base) for base in baked]
    lines.append(f"   0  {'' if app.workbench.base_number else 'active':<10} {app.paths.original}")
    original = {
        "number": 0,
        "path": str(app.paths.original),
        "active": app.workbench.base_number == 0,
    }
    show([*(base.as_json() for base in baked), original], lines, as_json=as_json)


def base_line(base: Base) -> str:
    """A base in one line: number, status, when and from what it was made, why."""
    made = f"{base.created_at:%Y-%m-%d %H:%M}  of release {base.release} on base {base.parent}"
    why = f" ({base.reason})" if base.reason else ""
    return (
        f"{base.number:>4}  {base.status.value:<10} "
        f"{made}  {base.fingerprint[:12]}  {base.why}{why}"
    )


@bases_app.command("prune")
def bases_prune(number: Number, why: Why = "pruned by hand", as_json: Json = False) -> None:
    """Delete the files and statistics of a base that is not in effect.

    Bases baked from it keep its facts.
    """
    with reported_errors(), writing(configured_app()) as app:
        freed = bases.prune(
            app.ledger,
            app.paths,
            app.versions,
            app.workbench,
            number,
            who=common.operator_name(),
            why=why,
        )
    done = f"base {number} is pruned, {freed / 2**20:.1f} MiB deleted"
    show({"base": number, "bytes": freed}, [done], as_json=as_json)


@bases_app.command("write")
def bases_write(number: Number, as_json: Json = False) -> None:
    """Write a base's files again.

    They are made from the parent base and the baked release. Refused if the bytes are not the same
    as before.
    """
    with reported_errors(), writing(configured_app()) as app:
        with app.ledger.read() as session:
            base = queries.bases.base(session, number)
        bases.refuse_without_files(base)
        bases.write_again(app.ledger, app.paths, base)
    done = f"base {number} is written: {base.fingerprint[:12]}, the same bytes as before"
    show(base.as_json(), [done], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(bases_app, name="bases")
    cli.command()(rebase)
