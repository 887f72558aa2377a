"""The commands `factd releases`, `factd approve` and `factd refuse`. They load no model."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.app import writing
from factd.daemon.approvals import decisions
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, configured_app, reported_errors
from factd.daemon.cli.operate.servers import fail_if_not_taken
from factd.daemon.cli.output import measured, show
from factd.daemon.configuration import load_config
from factd.daemon.publishing import publish, signing, verify, version_files
from factd.daemon.publishing.hand_over import hand_over_due
from factd.daemon.status.fact_explanation import fact_line
from factd.daemon.status.handovers import handover_lines
from factd.store import queries
from factd.store.model.releases import Release

releases_app = typer.Typer(
    no_args_is_help=True, help="Releases: list, compare, publish, write and verify them."
)
Number = Annotated[int, typer.Argument(metavar="N", help="A release's number.")]


@releases_app.command("list")
def releases_list(as_json: Json = False) -> None:
    """List releases, newest first."""
    with reported_errors(), configured_app().ledger.read() as session:
        releases = queries.releases.list_releases(session)
    lines = [
        f"{r.number:>4}  {r.status.value:<10} {len(r.fact_ids):>5} facts{on_base(r)}  {r.created_at:%Y-%m-%d %H:%M}  {r.why}"
        for r in releases
    ]
    show([r.as_json() for r in releases], lines or ["no releases"], as_json=as_json)


def on_base(release: Release) -> str:
    """The base of a release; empty for the original model."""
    return f" on base {release.base}" if release.base else ""


@releases_app.command("show")
def releases_show(number: Number, as_json: Json = False) -> None:
    """Show one release and what its checks measured."""
    with reported_errors(), configured_app().ledger.read() as session:
        release = queries.releases.release(session, number)
        candidate = (
            queries.releases.candidate(session, release.candidate_id)
            if release.candidate_id
            else None
        )
    report = dict(candidate.report or {}) if candidate else {}
    rows = report.get("measurements", [])
    facts = f"{len(release.fact_ids)} facts{on_base(release)}"
    lines = [f"release {number} is {release.status.value}: {facts}, {release.why}"]
    lines += [
        f"{m['check']:<14} {m['metric']:<11} {m['language']:<6} {measured(m['value'])}"
        for m in rows
    ]
    batch = candidate.batch_id if candidate else None
    show({**release.as_json(), "batch_id": batch, "measurements": rows}, lines, as_json=as_json)


@releases_app.command("diff")
def releases_diff(first: int, second: int, as_json: Json = False) -> None:
    """List the facts that only one of two releases has.

    Facts that are baked into the base of a release count as facts of that release.
    """
    with reported_errors(), configured_app().ledger.read() as session:
        one, two = (
            queries.bases.facts_in_weights(session, queries.releases.release(session, n))
            for n in (first, second)
        )
        facts = {id_: queries.facts.get_fact(session, id_) for id_ in one ^ two}
    added, removed = sorted(two - one), sorted(one - two)
    lines = [f"+ {fact_line(facts[i])}" for i in added]
    lines += [f"- {fact_line(facts[i])}" for i in removed]
    show({"added": added, "removed": removed}, lines or ["no difference"], as_json=as_json)


@releases_app.command("publish")
def releases_publish(number: Number, as_json: Json = False) -> None:
    """Make a release the live one.

    Its files are written first if they are not on disk. Nothing is done for the release that is
    live already; `factd releases write` writes its files again.
    """
    with reported_errors(), writing(configured_app()) as app:
        parts = (app.ledger, app.paths, app.versions, app.fleet)
        release = publish.publish(*parts, app.config.approvals, number)
        handovers = hand_over_due(*parts)
    lines = [f"release {number} is live", *handover_lines(handovers)]
    show(release.as_json(), lines, as_json=as_json)
    fail_if_not_taken(handovers)


@releases_app.command("write")
def releases_write(number: Number, as_json: Json = False) -> None:
    """Write a release's files again; the live release stays the same.

    They are made from base and delta, and signed with today's key.
    """
    with reported_errors(), writing(configured_app()) as app:
        version_files.write_again(app.ledger, app.paths, app.versions, number)
        folder, key = app.versions.folder(number), signing.expected_key(app.config.publish)
        verified = verify.verify(folder, number, key)
    show(verified.as_json(), [verified.sentence()], as_json=as_json)


@releases_app.command("verify")
def releases_verify(
    number: Number,
    folder: Annotated[
        Path | None,
        typer.Option(help="The published folder. With it no configuration is read."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="The public key that must have signed the version.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every byte of a published version with its manifest.

    Also says who signed it. With --folder this works on any machine.
    """
    with reported_errors():
        table = None if folder else load_config(common.config_path()).publish
        key = signing.public_key(public_key) if public_key else None
        if table and not key:
            key = signing.expected_key(table)
        published = folder or (table.path if table else Path())
        verified = verify.verify(verify.folder_of(published, number), number, key)
    show(verified.as_json(), [verified.sentence()], as_json=as_json)


def approve(number: Number, why: Why = "", as_json: Json = False) -> None:
    """Approve a release that waits for an operator.

    The daemon publishes it at its next tick. Holds for this batch only.
    """
    with reported_errors():
        ledger = configured_app().ledger
        release = decisions.approve(ledger, number, who=common.operator_name(), why=why)
    show(release.as_json(), [f"release {number} is approved"], as_json=as_json)


def refuse(number: Number, why: Why = "", as_json: Json = False) -> None:
    """Refuse a release that waits for an operator.

    It is never published, and its batch is not written again.
    """
    with reported_errors():
        ledger = configured_app().ledger
        release = decisions.refuse(ledger, number, who=common.operator_name(), why=why)
    show(release.as_json(), [f"release {number} is withdrawn"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(releases_app, name="releases")
    for command in (approve, refuse):
        cli.command()(command)
