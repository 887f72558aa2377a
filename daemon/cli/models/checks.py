"""Commands about measurements: probes, policy, quarantine, audit, check."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.operate.releases import number_text
from factd.daemon.cli.output import show
from factd.daemon.errors import BadConfig, Refused
from factd.store import queries

probes_app = typer.Typer(no_args_is_help=True, help="The questions that every release is asked.")
policy_app = typer.Typer(no_args_is_help=True, help="The gates.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Facts that were set aside.")
Why = Annotated[str, typer.Option(help="For the record.")]


@probes_app.command("build")
def probes_build(why: Why = "built by hand", as_json: Json = False) -> None:
    """Draw a new version of the probe set from the store and the catalogue."""
    from factd.daemon.evaluation import probe_sets

    with sentences():
        app = opened()
        found, _ = probe_sets.build(
            app.ledger,
            app.paths,
            app.workbench,
            app.prompts,
            probe_sets.known_facts(app.ledger, app.prompts),
            why=why,
        )
    lines = [f"probe set {found.version}: {why}", *count_lines(found.counts)]
    show(found.as_json(), lines, as_json=as_json)


def count_lines(counts: Mapping[str, int]) -> list[str]:
    """Questions by kind and language."""
    return [f"  {name:<14} {count}" for name, count in counts.items()]


@probes_app.command("list")
def probes_list(as_json: Json = False) -> None:
    """The versions, the newest first."""
    with sentences(), opened().ledger.read() as session:
        found = queries.evidence.probe_sets(session)
    lines = [
        f"{p.version:>4}  {p.made_at:%Y-%m-%d %H:%M}  {sum(p.counts.values()):>6} questions  {p.why}"
        for p in found
    ]
    show([p.as_json() for p in found], lines or ["no probe set yet"], as_json=as_json)


@probes_app.command("show")
def probes_show(version: int, limit: int = 20, as_json: Json = False) -> None:
    """The questions of a version."""
    from factd.daemon.evaluation import probe_sets

    with sentences():
        app = opened()
        with app.ledger.read() as session:
            numbers = [p.version for p in queries.evidence.probe_sets(session)]
        if version not in numbers:
            raise Refused(f"no probe set {version}; see `factd probes list`")
        exam = probe_sets.load(app.paths, version)
    lines = [f"{p.kind:<8} {p.language:<3} {p.prompt} … {p.target}" for p in exam.probes[:limit]]
    show(exam.as_json(), lines, as_json=as_json)


@policy_app.command("show")
def policy_show(as_json: Json = False) -> None:
    """Every gate that is on, with its bounds."""
    from factd.daemon.editing.candidates import json_row

    with sentences():
        app = opened()
    rows = [json_row(vars(gate)) for gate in app.gates.gates]
    lines = [gate_line(row) for row in rows]
    lines += [f"fact_right             at least {app.config.gates.fact_right:g} of each new fact"]
    show(rows, lines, as_json=as_json)


def gate_line(row: Mapping[str, Any]) -> str:
    """One gate for people."""
    least = row["against"] == "value" and row["more_is_better"]
    where = row["language"] or "every one measured"
    surely = f", {row['surely']:g} surely" if row["surely"] is not None else ""
    doubt = ", doubt passes" if row["doubt_passes"] else ""
    bound = f"{'at least' if least else 'at most'} {row['bound']:g}{surely}{doubt}"
    return f"{row['name']:<22} {where:<18} {bound}, of {row['sample']} or more"


@policy_app.command("test")
def policy_test(
    gates: Annotated[
        Path | None, typer.Option(help="A TOML file with a [gates] table to try.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One gate to try: known_kept=0.97")
    ] = None,
    limit: Annotated[int, typer.Option(help="The newest candidates.")] = 50,
    as_json: Json = False,
) -> None:
    """Judge stored reports again with other thresholds; nothing is changed."""
    from factd.daemon.gates.replay import replayed

    with sentences():
        app = opened()
        found = replayed(app.ledger, app.prompts, app.gates, given(gates, set_ or []), limit=limit)
    lines = [
        f"candidate {row['candidate']:>4}  {row['was']:<9} → {row['now']:<12} {'; '.join(row['reasons'][:3])}"
        for row in found
    ]
    show(found, lines or ["no stored report"], as_json=as_json)


def given(file: Path | None, pairs: list[str]) -> dict[str, Any]:
    """The gates of a file and of the command line. Raises: BadConfig: names what is wrong."""
    found: dict[str, Any] = {}
    try:
        if file is not None:
            found |= tomllib.loads(file.read_text(encoding="utf-8")).get("gates", {})
        for pair in pairs:
            found |= tomllib.loads(pair)
    except OSError as error:
        raise BadConfig(f"{file} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"no TOML: {error}; write --set known_kept=0.97") from error
    return found


@quarantine_app.command("list")
def quarantine_list(limit: int = 50, as_json: Json = False) -> None:
    """What was set aside, the newest first; `factd facts approve` or `lift` lets a fact go on."""
    with sentences(), opened().ledger.read() as session:
        found = queries.evidence.list_quarantine(session, limit=limit)
    lines = [f"{row.fact_id}  {row.at:%Y-%m-%d %H:%M}  {row.reason}" for row in found]
    show([row.as_json() for row in found], lines or ["nothing was set aside"], as_json=as_json)


@quarantine_app.command("show")
def quarantine_show(
    id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False
) -> None:
    """What speaks against one fact."""
    with sentences(), opened().ledger.read() as session:
        fact = queries.facts.get_fact(session, id_)
        found = queries.evidence.list_quarantine(session, fact_id=fact.id)
    lines = [
        line
        for row in found
        for line in (
            f"{row.at:%Y-%m-%d %H:%M}  candidate {row.candidate_id or '-'}: {row.reason}",
            *(f"  {name:<20} {value}" for name, value in row.evidence.items()),
        )
    ]
    show(
        [row.as_json() for row in found],
        lines or [f"{fact.id} was never set aside"],
        as_json=as_json,
    )


def audit(as_json: Json = False) -> None:
    """Ask the live release again, from its files; mend it, or roll back where it fails. Exit 1 where it failed."""
    from factd.daemon.tasks.audit import audit as audited
    from factd.store.model.evidence import AuditOutcome

    with sentences(), writing(opened()) as app:
        found = audited(app)
    lines = [f"release {found.release}: {found.outcome.value}; {found.action or 'nothing to do'}"]
    lost = found.report["lost"]
    lines += [f"lost      {len(lost)} facts: {', '.join(lost[:5])}"] if lost else []
    show(found.as_json(), lines, as_json=as_json)
    if found.outcome is AuditOutcome.FAILED:
        common.fail(
            f"the audit of release {found.release} failed: {found.reasons[0]}; {found.action}"
        )


def check(
    number: Annotated[int | None, typer.Argument(metavar="[N]")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one HTML file, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the checks on a release, or on the base; nothing is changed."""
    from factd.daemon.evaluation.report_page import page_of
    from factd.daemon.tasks.check import check as checked

    with sentences():
        app = opened()
        report = checked(app, number)
        if html is not None:
            page = page_of(
                app.ledger, app.paths, app.workbench, app.prompts, report, title=title(number)
            )
            html.write_text(page, encoding="utf-8")
    rows = report["measurements"]
    lines = [
        f"{m['check']:<16} {m['metric']:<18} {m['language']:<6} {number_text(m['value'])} of {m['sample_size']}"
        for m in rows
    ]
    show(report, lines, as_json=as_json)


def title(number: int | None) -> str:
    """What was checked."""
    return f"release {number}" if number else "the base model"


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    for name, group in (
        ("probes", probes_app),
        ("policy", policy_app),
        ("quarantine", quarantine_app),
    ):
        cli.add_typer(group, name=name)
    for command in (audit, check):
        cli.command()(command)
