"""Commands about the keys that versions are signed with."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli.common import Json, sentences
from factd.daemon.cli.output import show

keys_app = typer.Typer(no_args_is_help=True, help="Keys that published versions are signed with.")


@keys_app.callback()
def keys() -> None:
    """Keys that published versions are signed with."""


@keys_app.command("new")
def keys_new(
    out: Annotated[Path, typer.Option(help="The folder that gets both files.")],
    as_json: Json = False,
) -> None:
    """A new pair: signing-key.pem for [publish] signing_key_file, public-key.pem for whoever verifies."""
    from factd.daemon.publishing import signing

    with sentences():
        made = signing.new_key(out)
    private, public = out / signing.PRIVATE, out / signing.PUBLIC
    show(
        {"key_id": made.id, "signing_key_file": str(private), "public_key_file": str(public)},
        [f"key {made.id}: {private} (keep it secret), {public} (give it to who verifies)"],
        as_json=as_json,
    )


def add(cli: typer.Typer) -> None:
    """The commands of this file."""
    cli.add_typer(keys_app, name="keys")
