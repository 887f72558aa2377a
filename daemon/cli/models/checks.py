"""The commands `factd probes`, `policy`, `quarantine`, `audit` and `check`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import measured, show
from factd.daemon.editing.candidates import json_row
from factd.daemon.errors import BadConfig, Refused
from factd.daemon.evaluation import probe_sets
from factd.daemon.evaluation.report_page import report_html
from factd.daemon.gates.replay import replay
from factd.daemon.tasks.audit import audit as audit_live_release
from factd.daemon.tasks.check import check as check_release
from factd.store import queries
from factd.store.model.evidence import AuditOutcome

probes_app = typer.Typer(
    no_args_is_help=True, help="Probe sets: the fixed questions that every release is asked."
)
policy_app = typer.Typer(
    no_args_is_help=True, help="The gates that decide whether a candidate is accepted."
)
quarantine_app = typer.Typer(
    no_args_is_help=True, help="Facts that were set aside, and the evidence against them."
)
Why = Annotated[str, typer.Option(help="The reason, kept with the probe set.")]


@probes_app.command("build")
def probes_build(why: Why = "built by hand", as_json: Json = False) -> None:
    """Draw a new version of the probe set from the store and the relation catalogue."""
    with reported_errors():
        app = configured_app()
        probe_set, _ = probe_sets.build(
            app.ledger,
            app.paths,
            app.workbench,
            app.prompts,
            probe_sets.known_facts(app.ledger, app.prompts),
            why=why,
        )
    lines = [f"probe set {probe_set.version}: {why}", *count_lines(probe_set.counts)]
    show(probe_set.as_json(), lines, as_json=as_json)


def count_lines(counts: Mapping[str, int]) -> list[str]:
    """The number of questions of each kind and language, a line each."""
    return [f"  {name:<14} {count}" for name, count in counts.items()]


@probes_app.command("list")
def probes_list(as_json: Json = False) -> None:
    """List the versions of the probe set, newest first."""
    with reported_errors(), configured_app().ledger.read() as session:
        probe_set_list = queries.evidence.probe_sets(session)
    lines = [
        f"{p.version:>4}  {p.made_at:%Y-%m-%d %H:%M}  "
        f"{sum(p.counts.values()):>6} questions  {p.why}"
        for p in probe_set_list
    ]
    data = [p.as_json() for p in probe_set_list]
    show(data, lines or ["no probe set yet; `factd probes build` draws one"], as_json=as_json)


@probes_app.command("show")
def probes_show(
    version: Annotated[int, typer.Argument(help="A version; see `factd probes list`.")],
    limit: Annotated[int, typer.Option(help="Print at most this many questions.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the questions of one version of the probe set."""
    with reported_errors():
        app = configured_app()
        with app.ledger.read() as session:
            numbers = [p.version for p in queries.evidence.probe_sets(session)]
        if version not in numbers:
            raise Refused(f"no probe set {version}; see `factd probes list`")
        exam = probe_sets.load(app.paths, version)
    lines = [f"{p.kind:<8} {p.language:<3} {p.prompt} … {p.target}" for p in exam.probes[:limit]]
    show(exam.as_json(), lines, as_json=as_json)


@policy_app.command("show")
def policy_show(as_json: Json = False) -> None:
    """List every gate that is on, with its bounds."""
    with reported_errors():
        app = configured_app()
    rows = [json_row(vars(gate)) for gate in app.gates.gates]
    lines = [gate_line(row) for row in rows]
    lines += [f"fact_right             at least {app.config.gates.fact_right:g} of each new fact"]
    show(rows, lines, as_json=as_json)


def gate_line(row: Mapping[str, Any]) -> str:
    """A gate in one line: name, language, bound, least number of samples."""
    least = row["against"] == "value" and row["more_is_better"]
    where = row["language"] or "each language"
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
        list[str] | None,
        typer.Option("--set", help="One gate to try, as known_kept=0.97; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Judge this many of the newest candidates.")] = 50,
    as_json: Json = False,
) -> None:
    """Judge stored reports again with other thresholds. Nothing is changed."""
    with reported_errors():
        app = configured_app()
        tried = gates_to_try(gates, set_ or [])
        rows = replay(app.ledger, app.prompts, app.gates, tried, limit=limit)
    lines = [
        f"candidate {row['candidate']:>4}  "
        f"{row['was']:<9} → {row['now']:<12} {'; '.join(row['reasons'][:3])}"
        for row in rows
    ]
    show(rows, lines or ["no stored report"], as_json=as_json)


def gates_to_try(file: Path | None, pairs: list[str]) -> dict[str, Any]:
    """The gates of a TOML file and of `--set`.

    Raises: BadConfig: the sentence names what is wrong.
    """
    tried: dict[str, Any] = {}
    try:
        if file is not None:
            tried |= tomllib.loads(file.read_text(encoding="utf-8")).get("gates", {})
        for pair in pairs:
            tried |= tomllib.loads(pair)
    except OSError as error:
        raise BadConfig(
            f"{file} cannot be read ({error.strerror}); name a TOML file with a [gates] table"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"this is not TOML: {error}; write --set known_kept=0.97") from error
    return tried


@quarantine_app.command("list")
def quarantine_list(
    limit: Annotated[int, typer.Option(help="At most this many facts.")] = 50,
    as_json: Json = False,
) -> None:
    """List the facts that were set aside, newest first.

    `factd facts approve` or `factd facts lift` lets a fact be written again.
    """
    with reported_errors(), configured_app().ledger.read() as session:
        rows = queries.evidence.list_quarantine(session, limit=limit)
    lines = [f"{row.fact_id}  {row.at:%Y-%m-%d %H:%M}  {row.reason}" for row in rows]
    show([row.as_json() for row in rows], lines or ["nothing was set aside"], as_json=as_json)


@quarantine_app.command("show")
def quarantine_show(
    id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False
) -> None:
    """Show the evidence against one fact that was set aside."""
    with reported_errors(), configured_app().ledger.read() as session:
        fact = queries.facts.get_fact(session, id_)
        rows = queries.evidence.list_quarantine(session, fact_id=fact.id)
    lines = [
        line
        for row in rows
        for line in (
            f"{row.at:%Y-%m-%d %H:%M}  candidate {row.candidate_id or '-'}: {row.reason}",
            *(f"  {name:<20} {value}" for name, value in row.evidence.items()),
        )
    ]
    show(
        [row.as_json() for row in rows],
        lines or [f"{fact.id} was never set aside"],
        as_json=as_json,
    )


def audit(as_json: Json = False) -> None:
    """Check the live release again, loaded from its files.

    Damaged files are written again. If the checks fail, factd rolls back, unless [audit] roll_back
    is off. Exit code 1 if they fail.
    """
    with reported_errors(), writing(configured_app()) as app:
        result = audit_live_release(app)
    lines = [
        f"release {result.release}: {result.outcome.value}; {result.action or 'nothing to do'}"
    ]
    lost = result.report["lost"]
    lines += [f"lost      {len(lost)} facts: {', '.join(lost[:5])}"] if lost else []
    show(result.as_json(), lines, as_json=as_json)
    if result.outcome is AuditOutcome.FAILED:
        common.fail(
            f"the audit of release {result.release} failed: {result.reasons[0]}; {result.action}"
        )


def check(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[N]", help="A release's number. Without it: the base model."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report to this HTML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the checks on a release, or on the base model. Nothing is changed."""
    with reported_errors():
        app = configured_app()
        report = check_release(app, number)
        if html is not None:
            page = report_html(
                app.ledger, app.paths, app.workbench, app.prompts, report, title=title(number)
            )
            html.write_text(page, encoding="utf-8")
    rows = report["measurements"]
    lines = [
        f"{m['check']:<16} {m['metric']:<18} "
        f"{m['language']:<6} {measured(m['value'])} of {m['sample_size']}"
        for m in rows
    ]
    show(report, lines, as_json=as_json)


def title(number: int | None) -> str:
    """The title of the report page."""
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
