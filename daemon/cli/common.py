"""Shared by all commands: common options, the configured application, errors as one sentence."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.app import App, open_app
from factd.daemon.configuration import DEFAULT
from factd.daemon.errors import FactdError
from factd.store.errors import StoreError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
STATE: dict[str, Path] = {"config": DEFAULT}
OPENED: list[App] = []  # opened by the running command, closed at its end


def config_path() -> Path:
    """The configuration file given by --config, or the default one."""
    return STATE["config"]


def operator_name() -> str:
    """The user at the keyboard, for the audit log."""
    return os.environ.get("USER") or getpass.getuser()


@contextmanager
def reported_errors() -> Iterator[None]:
    """Expected errors become one sentence on stderr and exit code 1.

    The application is closed at the end.
    """
    try:
        yield
    except (FactdError, StoreError) as error:
        fail(str(error))
    except Exception as error:
        if type(error).__module__ != "factd.editor.errors":  # compared by name: no torch import
            raise
        fail(str(error))
    finally:
        while OPENED:
            OPENED.pop().ledger.store.close()


def fail(sentence: str) -> None:
    """Print the reason on stderr and exit with 1."""
    sys.stderr.write(f"factd: {sentence}\n")
    raise typer.Exit(1)


def configured_app() -> App:
    """The application of the configuration file, closed when the command ends."""
    return closed_at_end(open_app(config_path()))


def closed_at_end(app: App) -> App:
    """The same application, registered to be closed when the command ends."""
    OPENED.append(app)
    return app
