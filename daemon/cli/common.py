"""What all commands share: their options, the configuration that was named, and errors as one sentence."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.app import App, open_app
from factd.daemon.config.load import DEFAULT
from factd.daemon.errors import FactdError
from factd.store.errors import StoreError

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Why = Annotated[str, typer.Option("--why", help="For the audit log.")]
STATE: dict[str, Path] = {"config": DEFAULT}
OPENED: list[App] = []  # by the command that runs, closed at its end


def config_path() -> Path:
    """The configuration file that was named."""
    return STATE["config"]


def who() -> str:
    """Who is at the keyboard, for the audit log."""
    return os.environ.get("USER") or getpass.getuser()


@contextmanager
def sentences() -> Iterator[None]:
    """Errors that were raised on purpose become one sentence on stderr and exit code 1."""
    try:
        yield
    except (FactdError, StoreError) as error:
        fail(str(error))
    except Exception as error:
        if type(error).__module__ != "factd.editor.errors":
            raise
        fail(str(error))
    finally:
        while OPENED:
            OPENED.pop().ledger.store.close()


def fail(sentence: str) -> None:
    """Say why, and exit with 1."""
    sys.stderr.write(f"factd: {sentence}\n")
    raise typer.Exit(1)


def opened() -> App:
    """factd with the configuration that was named."""
    return kept(open_app(config_path()))


def kept(app: App) -> App:
    """The same, closed when the command ends."""
    OPENED.append(app)
    return app
