"""The command `factd keys new`: keys that published versions are signed with."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli.common import Json, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.publishing import signing

keys_app = typer.Typer(no_args_is_help=True, help="Keys that published versions are signed with.")


@keys_app.callback()
def keys() -> None:
    """Keys that published versions are signed with."""


@keys_app.command("new")
def keys_new(
    out: Annotated[Path, typer.Option(help="The folder that gets both key files.")],
    as_json: Json = False,
) -> None:
    """Make a key pair for signing published versions.

    signing-key.pem is for [publish] signing_key_file, public-key.pem for those who verify versions.
    """
    with reported_errors():
        made = signing.new_key(out)
    private, public = out / signing.PRIVATE, out / signing.PUBLIC
    show(
        {"key_id": made.id, "signing_key_file": str(private), "public_key_file": str(public)},
        [f"key {made.id}: {private} (keep it secret), {public} (give it to those who verify)"],
        as_json=as_json,
    )


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(keys_app, name="keys")
