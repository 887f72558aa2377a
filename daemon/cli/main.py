"""The program `factd`: every command, and the options before it.

With `--json` a command prints exactly one document on stdout. Exit code 0: done, 1: refused or
failed, 2: wrong usage.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon import log
from factd.daemon.cli.common import STATE
from factd.daemon.cli.facts import facts, relations, sources
from factd.daemon.cli.models import apply, bases, checks, edit, heads, real_models
from factd.daemon.cli.operate import (
    accounts,
    backup,
    export,
    keys,
    notices,
    releases,
    run,
    servers,
    setup,
    status,
)
from factd.daemon.configuration import DEFAULT, PREFIX

COMMANDS = "factd.commands"  # entry-point group; each entry names a function add(cli)

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 110},
    rich_markup_mode=None,  # help texts contain [tables] of the configuration, which are not markup
    help=__doc__,
)


@cli.callback()
def options(
    config: Annotated[
        Path, typer.Option(envvar=f"{PREFIX}CONFIG", help="The configuration file.")
    ] = DEFAULT,
    log_json: Annotated[bool, typer.Option(help="Write logs as JSON, a line each.")] = False,
) -> None:
    """factd keeps the factual knowledge inside an open-weight language model current."""
    STATE["config"] = config
    log.configure(as_json=log_json)


for group in (
    setup,
    facts,
    sources,
    accounts,
    relations,
    releases,
    status,
    run,
    edit,
    servers,
    bases,
    checks,
    apply,
    real_models,
    export,
    heads,
    notices,
    keys,
    backup,
):
    group.add(cli)


def add_installed(cli: typer.Typer, points: Iterable[EntryPoint]) -> None:
    """Add the commands that installed packages offer, such as `factd bench`.

    An entry that cannot be loaded is named on stderr and skipped: a rollback must not wait for it.
    An installation older than this checkout has no entry, so it has no such commands.
    """
    for point in points:
        try:
            add = point.load()
        except (ImportError, AttributeError) as error:
            sys.stderr.write(
                f"factd: the commands {point.name!r} of {point.value} cannot be loaded: {error}. "
                "Install factd again.\n"
            )
        else:
            add(cli)


add_installed(cli, entry_points(group=COMMANDS))


def main() -> None:
    """The entry point `factd`."""
    cli()


if __name__ == "__main__":
    main()
