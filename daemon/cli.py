"""The command line. `--json` prints exactly one document on stdout; exit code 0 done, 1 refused or failed, 2 usage."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon import (
    commands,
    commands_accounts,
    commands_backup,
    commands_bases,
    commands_bench,
    commands_checks,
    commands_editor,
    commands_export,
    commands_facts,
    commands_heads,
    commands_keys,
    commands_model,
    commands_notices,
    commands_relations,
    commands_servers,
    commands_setup,
    commands_sources,
    log,
)
from factd.daemon.config import DEFAULT, PREFIX
from factd.daemon.terminal import STATE

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.callback()
def options(
    config: Annotated[
        Path, typer.Option(envvar=f"{PREFIX}CONFIG", help="The configuration file.")
    ] = DEFAULT,
    log_json: Annotated[bool, typer.Option(help="Logs as JSON.")] = False,
) -> None:
    """factd keeps the factual knowledge inside an open-weight language model current."""
    STATE["config"] = config
    log.configure(as_json=log_json)


for group in (
    commands_setup,
    commands_facts,
    commands_sources,
    commands_accounts,
    commands_relations,
    commands,
    commands_model,
    commands_servers,
    commands_bases,
    commands_checks,
    commands_editor,
    commands_export,
    commands_heads,
    commands_notices,
    commands_keys,
    commands_backup,
    commands_bench,
):
    group.add(app)


def main() -> None:
    """The entry point `factd`."""
    app()


if __name__ == "__main__":
    main()
