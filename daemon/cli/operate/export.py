"""`factd export N --format checkpoint | lora --out DIR`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.output import show
from factd.daemon.publishing.export import ExportRequest, Form
from factd.daemon.publishing.export import export as exported


def export(
    number: Annotated[int, typer.Argument(metavar="N", help="Of the release; 0: the base.")],
    out: Annotated[
        Path, typer.Option("--out", help="A new or empty folder, or an earlier export.")
    ],
    form: Annotated[
        Form, typer.Option("--format", help="A whole checkpoint, or a LoRA adapter.")
    ] = Form.CHECKPOINT,
    dtype: Annotated[
        str | None, typer.Option(help="Of an adapter: float32 (default), bfloat16, float16.")
    ] = None,
    max_rank: Annotated[
        int | None, typer.Option(min=1, help="That an adapter may have (512).")
    ] = None,
    truncate: Annotated[
        bool,
        typer.Option("--truncate", help="Cut a higher rank, where what was cut passed the gates."),
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Cut it although nothing was measured; with --truncate."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a release into a folder of its own, with a manifest; needs no GPU, publishes nothing."""
    given = {"dtype": dtype, "max_rank": max_rank, "truncate": truncate or None}
    settings = {name: value for name, value in given.items() if value is not None}
    if form is Form.CHECKPOINT and (settings or unchecked):
        raise typer.BadParameter(
            "--dtype, --max-rank, --truncate and --unchecked are of --format lora"
        )
    if unchecked and not truncate:
        raise typer.BadParameter("--unchecked goes with --truncate")
    order = ExportRequest(number=number, form=form, settings=settings, unchecked=unchecked)
    with sentences():
        app = opened()
        found = exported(app.ledger, app.paths, order, out)
    show({**found, "out": str(out)}, [line(found, out)], as_json=as_json)


def line(found: Mapping[str, Any], out: Path) -> str:
    """What was written, for people."""
    said = f"{out}: release {found['release']} as {found['format']}"
    if found["format"] == Form.LORA:
        cut = f" cut to {found['written_rank']}" if found["truncated_id"] else ""
        said += f", rank {found['rank']}{cut}, {found['dtype']}, error {found['error']:.1g}"
    return said + (", NOT measured" if found.get("checked") is False else "")


def add(cli: typer.Typer) -> None:
    """Register the command of this file."""
    cli.command()(export)
