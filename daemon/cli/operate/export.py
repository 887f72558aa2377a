"""The command `factd export N --format checkpoint | lora --out DIR`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.publishing.export import ExportRequest, Form
from factd.daemon.publishing.export import export as export_release


def export(
    number: Annotated[
        int, typer.Argument(metavar="N", help="A release's number; 0 is the base model.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="A new or empty folder, or the folder of an earlier export."),
    ],
    form: Annotated[
        Form, typer.Option("--format", help="A whole checkpoint, or a LoRA adapter.")
    ] = Form.CHECKPOINT,
    dtype: Annotated[
        str | None,
        typer.Option(help="The adapter's data type: float32 (default), bfloat16 or float16."),
    ] = None,
    max_rank: Annotated[
        int | None, typer.Option(min=1, help="The highest rank an adapter may have (512).")
    ] = None,
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate",
            help="Truncate a higher rank, "
            "if the truncated adapter was measured and passed the gates.",
        ),
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked", help="Truncate although nothing was measured; only with --truncate."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a release into a folder of its own, with a manifest.

    Needs no GPU and publishes nothing.
    """
    given = {"dtype": dtype, "max_rank": max_rank, "truncate": truncate or None}
    settings = {name: value for name, value in given.items() if value is not None}
    if form is Form.CHECKPOINT and (settings or unchecked):
        raise typer.BadParameter(
            "--dtype, --max-rank, --truncate and --unchecked need --format lora"
        )
    if unchecked and not truncate:
        raise typer.BadParameter("--unchecked needs --truncate")
    order = ExportRequest(number=number, form=form, settings=settings, unchecked=unchecked)
    with reported_errors():
        app = configured_app()
        result = export_release(app.ledger, app.paths, order, out)
    show({**result, "out": str(out)}, [export_line(result, out)], as_json=as_json)


def export_line(result: Mapping[str, Any], out: Path) -> str:
    """What was written: folder, release, format, and for an adapter its rank and error."""
    line = f"{out}: release {result['release']} as {result['format']}"
    if result["format"] == Form.LORA:
        cut = f" truncated to {result['written_rank']}" if result["truncated_id"] else ""
        line += f", rank {result['rank']}{cut}, {result['dtype']}, error {result['error']:.1g}"
    return line + (", NOT measured" if result.get("checked") is False else "")


def add(cli: typer.Typer) -> None:
    """Register the command of this file."""
    cli.command()(export)
