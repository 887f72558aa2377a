"""`factd bench`: what the editor and the store cost on this machine.

The command line finds this file through the entry point `factd.commands` in pyproject.toml. Each
command imports its benchmark when it runs, because most of them need torch.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, reported_errors
from factd.daemon.cli.models.apply import setting
from factd.daemon.cli.output import progress

bench_app = typer.Typer(
    no_args_is_help=True,
    help="Measure the editor on the reference model, the store and the console.",
)


def show(document: dict[str, Any], as_json: bool) -> None:
    """Print the document of a benchmark."""
    from factd.bench.measure import print_document

    print_document(document, as_json=as_json)


@bench_app.command()
def edit(edits: Annotated[int, typer.Option(min=2)] = 100, as_json: Json = False) -> None:
    """Compare every optimisation of the editor with public MEMIT, one fact at a time (minutes)."""
    with reported_errors():
        from factd.bench.speed import edit as bench

        show(bench.run(edits=edits), as_json)


@bench_app.command()
def solve(
    rows: Annotated[int, typer.Option(min=100, max=8000)] = 5000,
    tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that the second moments are taken from.")
    ] = 100_000,
    as_json: Json = False,
) -> None:
    """Measure the ledger solve of many facts: time, memory, resuming it, adding facts to it."""
    with reported_errors():
        from factd.bench.speed import solve as bench

        show(bench.run(rows=rows, tokens=tokens), as_json)


@bench_app.command()
def soak(cycles: Annotated[int, typer.Option(min=10)] = 500, as_json: Json = False) -> None:
    """Run many cycles of ingest, edit, check, publish and audit, and see if resource use grows.

    It takes half an hour.
    """
    with reported_errors():
        from factd.bench.operations import soak as bench

        show(bench.run(cycles=cycles), as_json)


@bench_app.command()
def stats(edits: Annotated[int, typer.Option(min=2)] = 600, as_json: Json = False) -> None:
    """Compare edits whose second moments come from fewer and fewer tokens."""
    with reported_errors():
        from factd.bench.speed import stats as bench

        show(bench.run(edits=edits), as_json)


@bench_app.command()
def probes(probes: Annotated[int, typer.Option(min=10)] = 4000, as_json: Json = False) -> None:
    """Measure the cost of asking many probes."""
    with reported_errors():
        from factd.bench.speed import probes as bench

        show(bench.run(probes=probes), as_json)


@bench_app.command()
def scale(
    edits: Annotated[int, typer.Option(min=100, max=8000)] = 2000, as_json: Json = False
) -> None:
    """Measure the time per edit, from 100 edits up to --edits."""
    with reported_errors():
        from factd.bench.speed import scale as bench

        show(bench.run(edits=edits), as_json)


@bench_app.command()
def disasters(
    only: Annotated[
        str, typer.Option(help="Run scenarios whose name holds this text; separate texts with |.")
    ] = "",
    clean: Annotated[int, typer.Option(min=0, help="Number of batches without a fault.")] = 40,
    part: Annotated[
        int, typer.Option(min=1, help="Number of this process, if several share the scenarios.")
    ] = 1,
    parts: Annotated[
        int, typer.Option(min=1, help="Number of processes that share the scenarios.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Edit planted disasters and clean batches, and count what the gates catch (half an hour)."""
    with reported_errors():
        from factd.bench.gates import disasters as bench

        show(bench.run(clean=clean, only=only, part=part, parts=parts), as_json)


@bench_app.command()
def blame(as_json: Json = False) -> None:
    """Count the solves that find three bad facts among 64 (minutes)."""
    with reported_errors():
        from factd.bench.gates import blame as bench

        show(bench.run(), as_json)


@bench_app.command()
def checks(
    facts: Annotated[int, typer.Option(min=1, max=69)] = 50,
    known: Annotated[
        int, typer.Option(min=1, help="Questions per language about facts that must not change.")
    ] = 1000,
    as_json: Json = False,
) -> None:
    """Measure the time of all checks of a batch, and the model's share of it."""
    with reported_errors():
        from factd.bench.gates import checks as bench

        show(bench.run(facts=facts, known=known), as_json)


@bench_app.command()
def store(
    facts: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    url: Annotated[
        str, typer.Option(help="URL of an empty database. Default: a temporary SQLite file.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Measure ingest into the fact store, and queries when it is full (minutes)."""
    with reported_errors():
        from factd.bench.operations import store as bench

        show(bench.run(facts=facts, url=url), as_json)


@bench_app.command()
def console(
    facts: Annotated[int, typer.Option(min=2000)] = 1_000_000,
    releases: Annotated[int, typer.Option(min=1)] = 10_000,
    url: Annotated[
        str,
        typer.Option(help="URL of a database; an empty one is filled. Default: temporary SQLite."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Measure the console and `factd status` on a full store (minutes)."""
    with reported_errors():
        from factd.bench.operations import console as bench

        show(bench.run(facts=facts, releases=releases, url=url), as_json)


@bench_app.command()
def shards(gib: Annotated[float, typer.Option(min=0.01)] = 2.0, as_json: Json = False) -> None:
    """Measure writing a version of a 40-shard checkpoint, by the shards that an edit touches.

    Needs twice --gib of disk space while it runs.
    """
    with reported_errors():
        from factd.bench.operations import shards as bench

        show(bench.run(gib=gib), as_json)


Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="A file of editor/methods, public-memit, public-alphaedit or in-context; may be "
        "repeated, and NAME=METHOD gives it a name. Default: memit, both public ones, "
        "fine_tuning and in-context.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting, METHOD.KEY=VALUE, or KEY=VALUE for all methods that solve for values; "
        "may be repeated.",
    ),
]
Strengths = Annotated[
    list[str] | None,
    typer.Option(
        "--strength", help="The points of a curve, METHOD.KEY=[VALUE, …]; may be repeated."
    ),
]


@bench_app.command()
def public(
    model: Annotated[str, typer.Option(help="smollm2, gemma3, or the folder of a model.")],
    data: Annotated[Path, typer.Option(help="A file of public benchmark records.")],
    format_: Annotated[
        str, typer.Option("--format", help="Format of the file. Default: found by looking at it.")
    ] = "",
    methods: Methods = None,
    settings: Settings = None,
    strengths: Strengths = None,
    count: Annotated[int, typer.Option(min=2, help="Records to edit, at most.")] = 50,
    bystanders: Annotated[int, typer.Option(min=1, help="Facts that must stay, at most.")] = 150,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the drawing; may be repeated. Default: 0.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of finished pieces. Default: run/bench/public.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file, written after each row.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG or SVG file of the curves.")] = None,
    as_json: Json = False,
) -> None:
    """Compare methods on public records that the model knows (hours).

    Same records for factd, public MEMIT and AlphaEdit, fine-tuning and the fact in the context.
    """
    with reported_errors():
        from factd.bench.public import run as bench

        job = bench.PublicJob.of(
            model,
            data,
            methods=tuple(methods or ()),
            given=dict(setting(text) for text in settings or []),
            strengths=dict(setting(text) for text in strengths or []),
            format_name=format_,
            count=count,
            bystanders=bystanders,
            seeds=tuple(seed or [0]),
            out=out,
            plot=plot,
        )
        with progress() as report_progress:
            found = bench.run(job.kept_in(folder), progress=report_progress)
        show(found if as_json else bench.short(found), as_json)


def add(cli: typer.Typer) -> None:
    """Add `factd bench` to the command line."""
    cli.add_typer(bench_app, name="bench")
