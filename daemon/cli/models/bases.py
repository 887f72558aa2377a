"""Commands about the base model: rebase, bases."""

from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, opened, sentences
from factd.daemon.cli.operate.servers import handed_over, handover_lines, refuse_failed
from factd.daemon.cli.output import progress, show
from factd.store import queries
from factd.store.model.bases import Base

bases_app = typer.Typer(no_args_is_help=True, help="Bases: the original model, and those baked.")


def rebase(
    why: Annotated[str, typer.Option("--why", help="For the audit log.")],
    undo: Annotated[
        bool, typer.Option("--undo", help="Back to the base before; no model is loaded.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bake the live release's facts into a new base: bake, verify, statistics, publish. The capacity is free again."""
    from factd.daemon.tasks import rebase as rebasing

    told: dict[str, Any] = {"who": common.who(), "why": why}
    found: rebasing.RebaseResult | rebasing.UndoResult
    with sentences(), writing(opened()) as app:
        if undo:
            found = rebasing.undo(app, **told)
        else:
            with progress() as shown:
                found = rebasing.rebase(app, progress=shown, **told)
        given = handed_over(app)
    show(found.as_json(), [*found.lines(), *handover_lines(given)], as_json=as_json)
    refuse_failed(given)


@bases_app.command("list")
def bases_list(as_json: Json = False) -> None:
    """The newest first; the original model is number 0."""
    with sentences():
        app = opened()
        with app.ledger.read() as session:
            found = queries.bases.list_bases(session)
    lines = [line(base) for base in found]
    lines.append(f"   0  {'' if app.workbench.base_number else 'active':<10} {app.paths.original}")
    original = {
        "number": 0,
        "path": str(app.paths.original),
        "active": app.workbench.base_number == 0,
    }
    show([*(base.as_json() for base in found), original], lines, as_json=as_json)


def line(base: Base) -> str:
    """One base for people."""
    made = f"{base.created_at:%Y-%m-%d %H:%M}  of release {base.release} on base {base.parent}"
    why = f" ({base.reason})" if base.reason else ""
    return f"{base.number:>4}  {base.status.value:<10} {made}  {base.fingerprint[:12]}  {base.why}{why}"


@bases_app.command("prune")
def bases_prune(number: int, why: Why = "pruned by hand", as_json: Json = False) -> None:
    """Delete the files and statistics of a base that is in effect no more; what was baked out of it stays baked."""
    from factd.daemon.publishing import bases

    with sentences(), writing(opened()) as app:
        freed = bases.prune(
            app.ledger, app.paths, app.versions, app.workbench, number, who=common.who(), why=why
        )
    done = f"base {number} is pruned, {freed / 2**20:.1f} MiB deleted"
    show({"base": number, "bytes": freed}, [done], as_json=as_json)


@bases_app.command("write")
def bases_write(number: int, as_json: Json = False) -> None:
    """Write a base's files again, from its parent and the release that it was made of: the same bytes, or refused."""
    from factd.daemon.publishing import bases

    with sentences(), writing(opened()) as app:
        with app.ledger.read() as session:
            found = queries.bases.base(session, number)
        bases.refuse_without_files(found)
        bases.write_again(app.ledger, app.paths, found)
    done = f"base {number} is written: {found.fingerprint[:12]}, as it was"
    show(found.as_json(), [done], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(bases_app, name="bases")
    cli.command()(rebase)
