"""Commands that need no model: releases, status, freeze, run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, opened, sentences
from factd.daemon.cli.facts.facts import said
from factd.daemon.cli.facts.sources import source_line
from factd.daemon.cli.operate.servers import handed_over, handover_lines, refuse_failed
from factd.daemon.cli.output import show
from factd.daemon.config.load import load_config
from factd.daemon.status import servers
from factd.daemon.status.overview import Overview, overview
from factd.store import queries
from factd.store.model.releases import Release

releases_app = typer.Typer(no_args_is_help=True, help="Releases.")


@releases_app.command("list")
def releases_list(as_json: Json = False) -> None:
    """The newest first."""
    with sentences(), opened().ledger.read() as session:
        found = queries.releases.list_releases(session)
    lines = [
        f"{r.number:>4}  {r.status.value:<10} {len(r.fact_ids):>5} facts{on_base(r)}  {r.created_at:%Y-%m-%d %H:%M}  {r.why}"
        for r in found
    ]
    show([r.as_json() for r in found], lines or ["no releases"], as_json=as_json)


def on_base(release: Release) -> str:
    """What a release stands on, where that is not the original model."""
    return f" on base {release.base}" if release.base else ""


@releases_app.command("show")
def releases_show(number: int, as_json: Json = False) -> None:
    """One release with what was measured."""
    with sentences(), opened().ledger.read() as session:
        found = queries.releases.release(session, number)
        made = (
            queries.releases.candidate(session, found.candidate_id) if found.candidate_id else None
        )
    report = dict(made.report or {}) if made else {}
    rows = report.get("measurements", [])
    held = f"{len(found.fact_ids)} facts{on_base(found)}"
    lines = [f"release {number} is {found.status.value}: {held}, {found.why}"]
    lines += [
        f"{m['check']:<14} {m['metric']:<11} {m['language']:<6} {number_text(m['value'])}"
        for m in rows
    ]
    data = {**found.as_json(), "batch_id": made.batch_id if made else None, "measurements": rows}
    show(data, lines, as_json=as_json)


def number_text(value: float | None) -> str:
    """A measurement's value for people."""
    return "no number" if value is None else f"{value:.3f}"


@releases_app.command("diff")
def releases_diff(first: int, second: int, as_json: Json = False) -> None:
    """The facts that the second release has, baked or not, and the first one has not; and the reverse."""
    with sentences(), opened().ledger.read() as session:
        one, two = (
            queries.bases.facts_in_weights(session, queries.releases.release(session, n))
            for n in (first, second)
        )
        facts = {id_: queries.facts.get_fact(session, id_) for id_ in one ^ two}
    added, removed = sorted(two - one), sorted(one - two)
    lines = [f"+ {said(facts[i])}" for i in added] + [f"- {said(facts[i])}" for i in removed]
    show({"added": added, "removed": removed}, lines or ["no difference"], as_json=as_json)


@releases_app.command("publish")
def releases_publish(number: int, as_json: Json = False) -> None:
    """Bring a release out (again) and make it the live one."""
    from factd.daemon.publishing import publish

    with sentences(), writing(opened()) as app:
        found = publish.publish(
            app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, number
        )
        given = handed_over(app)
    show(found.as_json(), [f"release {number} is live", *handover_lines(given)], as_json=as_json)
    refuse_failed(given)


@releases_app.command("write")
def releases_write(number: int, as_json: Json = False) -> None:
    """Write a release's version again from base and delta, where it lies: whole, and signed with the key of today."""
    from factd.daemon.publishing import signing, verify, version_files

    with sentences(), writing(opened()) as app:
        version_files.write_again(app.ledger, app.paths, app.versions, number)
        folder, key = app.versions.folder(number), signing.expected_key(app.config.publish)
        found = verify.verify(folder, number, key)
    show(found.as_json(), [found.sentence()], as_json=as_json)


@releases_app.command("verify")
def releases_verify(
    number: int,
    folder: Annotated[
        Path | None, typer.Option(help="Published; then no configuration is read.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option(help="That it must be signed with.")] = None,
    as_json: Json = False,
) -> None:
    """Compare every byte of a published version with its manifest, and say who signed it; also on another machine."""
    from factd.daemon.publishing import signing, verify

    with sentences():
        table = None if folder else load_config(common.config_path()).publish
        key = signing.public_key(public_key) if public_key else None
        if table and not key:
            key = signing.expected_key(table)
        published = folder or (table.path if table else Path())
        found = verify.verify(verify.folder_of(published, number), number, key)
    show(found.as_json(), [found.sentence()], as_json=as_json)


def status(as_json: Json = False) -> None:
    """One screen: live release, queue, last runs, health."""
    with sentences():
        app = opened()
        found = overview(app.ledger, app.versions, app.planning, app.fleet, app.config.approvals)
        with app.ledger.read() as session:
            live = queries.releases.live_release(session) if as_json else None
    show(status_json(found, live), status_lines(found), as_json=as_json)


def status_json(found: Overview, live: Release | None) -> dict[str, Any]:
    """For programs; the live release with its facts."""
    last, frozen, budget = found.candidate, found.frozen, found.budget
    about = {"id": last.id, "status": last.status.value, "reasons": last.reasons} if last else None
    return {
        "live": live.as_json() if live else None,
        "published": found.published,
        "facts": dict(found.facts),
        "budget": {
            "capacity": budget.capacity,
            "used": budget.used,
            "left": budget.left,
            "today": budget.today,
        },
        "base": found.base.as_json() if found.base else None,
        "frozen": frozen.why if frozen else None,
        "waiting": [release.number for release in found.waiting],
        "last_candidate": about,
        "sources": [source.as_json() for source in found.sources],
        "servers": [server.as_json() for server in found.servers],
        "runs": [run.as_json() for run in found.runs],
    }


def status_lines(found: Overview) -> list[str]:
    """For people."""
    live, last, budget = found.live, found.candidate, found.budget
    said = f"release {live.number}, {live.facts} facts, {live.why}" if live else "nothing"
    counts = ", ".join(f"{count} {name}" for name, count in found.facts.items() if count)
    lines = [f"live      {said}", f"published version {found.published}", f"facts     {counts}"]
    lines += [f"budget    {budget.left} of {budget.capacity} facts left"]
    lines += [f"today     {used} of {most} {name}" for name, (used, most) in budget.today.items()]
    lines += [f"base      {found.base.describe()}"] if found.base else []
    lines += [f"frozen    {found.frozen.why}"] if found.frozen else []
    lines += [f"waits     release {r.number}: `factd approve {r.number}`" for r in found.waiting]
    lines += [f"candidate {last.id} {last.status.value} {'; '.join(last.reasons)}"] if last else []
    lines += [f"source    {source_line(source)}" for source in found.sources]
    lines += [f"server    {servers.said(server)}" for server in found.servers]
    return lines + [
        f"run       {r.job} {r.status.value} {r.started_at:%Y-%m-%d %H:%M:%S} {r.detail}"
        for r in found.runs
    ]


def freeze(why: Annotated[str, typer.Option("--why")], as_json: Json = False) -> None:
    """The kill switch: nothing is written or published until `factd unfreeze`."""
    with sentences():
        app = opened()
        with app.ledger.begin() as session:
            queries.releases.freeze(session, why=why, who=common.who(), now=app.ledger.now())
    show({"frozen": why}, [f"frozen: {why}"], as_json=as_json)


def unfreeze(as_json: Json = False) -> None:
    """Go on."""
    with sentences():
        app = opened()
        with app.ledger.begin() as session:
            was = queries.releases.unfreeze(session, who=common.who(), now=app.ledger.now())
    show({"was_frozen": was}, ["goes on" if was else "was not frozen"], as_json=as_json)


def approve(number: int, why: Why = "", as_json: Json = False) -> None:
    """Let a release that waits for an operator be published, at the daemon's next tick; bound to its batch."""
    from factd.daemon.approvals import decisions

    with sentences():
        found = decisions.approve(opened().ledger, number, who=common.who(), why=why)
    show(found.as_json(), [f"release {number} is approved"], as_json=as_json)


def refuse(number: int, why: Why = "", as_json: Json = False) -> None:
    """Never publish a release that waits; its batch is not written again."""
    from factd.daemon.approvals import decisions

    with sentences():
        found = decisions.refuse(opened().ledger, number, who=common.who(), why=why)
    show(found.as_json(), [f"release {number} is withdrawn"], as_json=as_json)


def worker(
    parent: Annotated[int | None, typer.Option(hidden=True, help="End with this process.")] = None,
) -> None:
    """Take tasks that load a model (edit, audit, statistics) until SIGTERM; started by the daemon, or by hand elsewhere."""
    from factd.daemon.runtime.worker import WorkerProcess

    with sentences():
        code = WorkerProcess(opened(), parent=parent).run()
    raise typer.Exit(code)


def run() -> None:
    """The daemon."""
    from factd.daemon.runtime.daemon import Daemon

    with sentences():
        Daemon(opened(), common.config_path()).run()


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(releases_app, name="releases")
    for command in (status, freeze, unfreeze, approve, refuse, worker, run):
        cli.command()(command)
