"""`factd bench`: what the editor and the store cost on this machine.

The command line finds this file through the entry point `factd.commands` in pyproject.toml. Each
command imports its benchmark when it runs, because most of them need torch.
"""

from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, reported_errors

bench_app = typer.Typer(
    no_args_is_help=True, help="Benchmarks: the editor on the reference model, the store."
)


def shown(found: dict[str, Any], as_json: bool) -> None:
    """A document on the terminal."""
    from factd.bench.measure import printed

    printed(found, as_json=as_json)


@bench_app.command()
def edit(edits: Annotated[int, typer.Option(min=2)] = 100, as_json: Json = False) -> None:
    """Every rung of the ladder against public MEMIT's way, one fact at a time (minutes)."""
    with reported_errors():
        from factd.bench import edit as bench

        shown(bench.run(edits=edits), as_json)


@bench_app.command()
def solve(
    rows: Annotated[int, typer.Option(min=100, max=8000)] = 5000,
    tokens: Annotated[int, typer.Option(min=1, help="Of the second moments.")] = 100_000,
    as_json: Json = False,
) -> None:
    """The ledger solve of many facts: time, memory, resumption, adding to it."""
    with reported_errors():
        from factd.bench import solve as bench

        shown(bench.run(rows=rows, tokens=tokens), as_json)


@bench_app.command()
def soak(cycles: Annotated[int, typer.Option(min=10)] = 500, as_json: Json = False) -> None:
    """Cycles of ingest, edit, check, publish, audit: does memory, disk or the number of open files grow? (half an hour)"""
    with reported_errors():
        from factd.bench import soak as bench

        shown(bench.run(cycles=cycles), as_json)


@bench_app.command()
def stats(edits: Annotated[int, typer.Option(min=2)] = 600, as_json: Json = False) -> None:
    """Second moments from fewer tokens: the same edit?"""
    with reported_errors():
        from factd.bench import stats as bench

        shown(bench.run(edits=edits), as_json)


@bench_app.command()
def probes(probes: Annotated[int, typer.Option(min=10)] = 4000, as_json: Json = False) -> None:
    """What the checks cost."""
    with reported_errors():
        from factd.bench import probes as bench

        shown(bench.run(probes=probes), as_json)


@bench_app.command()
def scale(
    edits: Annotated[int, typer.Option(min=100, max=8000)] = 2000, as_json: Json = False
) -> None:
    """Time per edit from 100 edits on."""
    with reported_errors():
        from factd.bench import scale as bench

        shown(bench.run(edits=edits), as_json)


@bench_app.command()
def disasters(
    only: Annotated[str, typer.Option(help="Parts of scenarios' names, | between.")] = "",
    clean: Annotated[int, typer.Option(min=0, help="Batches without a fault.")] = 40,
    part: Annotated[int, typer.Option(min=1, help="Of several processes that share them.")] = 1,
    parts: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Planted disasters and clean batches through the whole edit: caught, and the right facts set aside? (half an hour)"""
    with reported_errors():
        from factd.bench import disasters as bench

        shown(bench.run(clean=clean, only=only, part=part, parts=parts), as_json)


@bench_app.command()
def blame(as_json: Json = False) -> None:
    """64 facts, three of them bad: solves until they are found (minutes)."""
    with reported_errors():
        from factd.bench import blame as bench

        shown(bench.run(), as_json)


@bench_app.command()
def checks(
    facts: Annotated[int, typer.Option(min=1, max=69)] = 50,
    known: Annotated[int, typer.Option(min=1, help="Per language.")] = 1000,
    as_json: Json = False,
) -> None:
    """What all checks of a batch cost, and how much of it is the model's."""
    with reported_errors():
        from factd.bench import checks as bench

        shown(bench.run(facts=facts, known=known), as_json)


@bench_app.command()
def store(
    facts: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    url: Annotated[str, typer.Option(help="An empty database; a SQLite file without.")] = "",
    as_json: Json = False,
) -> None:
    """Ingest and queries of a full fact store (minutes)."""
    with reported_errors():
        from factd.bench import store as bench

        shown(bench.run(facts=facts, url=url), as_json)


@bench_app.command()
def console(
    facts: Annotated[int, typer.Option(min=2000)] = 1_000_000,
    releases: Annotated[int, typer.Option(min=1)] = 10_000,
    url: Annotated[str, typer.Option(help="Filled where it is empty; without: SQLite.")] = "",
    as_json: Json = False,
) -> None:
    """The console and `factd status` on a full store (minutes)."""
    with reported_errors():
        from factd.bench import console as bench

        shown(bench.run(facts=facts, releases=releases, url=url), as_json)


@bench_app.command()
def shards(gib: Annotated[float, typer.Option(min=0.01)] = 2.0, as_json: Json = False) -> None:
    """Writing a version of a 40-shard checkpoint by the shards that it touches; needs twice --gib on disk for a while."""
    with reported_errors():
        from factd.bench import shards as bench

        shown(bench.run(gib=gib), as_json)


def add(cli: typer.Typer) -> None:
    """Add `factd bench` to the command line."""
    cli.add_typer(bench_app, name="bench")
