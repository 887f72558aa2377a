"""A command of yours that makes a server serve a version, such as `systemctl restart`.

It is started without a shell. Its environment holds FACTD_RELEASE, FACTD_VERSION, FACTD_FOLDER,
FACTD_ADAPTER and FACTD_DIGEST, and of factd's own environment only what `keep` names. Exit code 0
means that the version is served. Every other exit code means that it is not.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import BinaryIO

from pydantic import Field

from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.servers import Connect, Report, Version
from factd.daemon.servers._completions import CompletionServer, CompletionServerSettings

TAIL = 4096  # bytes at the end of its output
MOST = 300  # the most characters of its last line
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL


class CommandSettings(CompletionServerSettings):
    """The keys of a [servers.NAME] table of kind command."""

    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments."""
    keep: tuple[str, ...] = ("PATH", "HOME", "LANG", "TZ")
    """Variables of factd's environment that the program gets."""

    def ready(self) -> None:
        """Check program and key.

        Raises: BadConfig: there is no such program, or no readable key.
        """
        super().ready()
        if shutil.which(self.command[0]) is None:
            raise BadConfig(
                f"{self.command[0]} is not a program that can be run; give its full path"
            )


Settings = CommandSettings  # the plugin loader looks for this name


class Command(CompletionServer):
    """A command, and the completions of the server that it starts."""

    def __init__(self, settings: CommandSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    def load(self, version: Version) -> None:
        """Run the command.

        Raises: HandoverFailed: it failed, with its last line, or took too long.
        """
        environment = environment_of(version, self.settings.keep)
        with tempfile.TemporaryFile() as errors:  # a pipe would wait for background processes
            code = self._run(environment, errors)
            last = last_line(errors)
        name = self.settings.command[0]
        if code is None:
            raise HandoverFailed(
                f"{name} took longer than load_seconds = "
                f"{self.settings.load_seconds:g} and was stopped"
            )
        if code != 0:
            raise HandoverFailed(f"{name} failed with exit code {code}{': ' * bool(last)}{last}")

    def report(self) -> Report:
        """Unknown: a command cannot report what is served."""
        return Report(serving=None)

    def _run(self, environment: dict[str, str], errors: BinaryIO) -> int | None:
        """The exit code. None: the command took too long and was stopped."""
        try:
            process = subprocess.Popen(
                self.settings.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # its own process group, which can be stopped as a whole
            )
        except OSError as error:
            name = self.settings.command[0]
            raise HandoverFailed(
                f"{name} cannot be started ({error.strerror}); check command"
            ) from error
        try:
            return process.wait(self.settings.load_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                stop(process)


def environment_of(version: Version, keep: tuple[str, ...]) -> dict[str, str]:
    """The whole environment of the command."""
    return {
        **{name: os.environ[name] for name in keep if name in os.environ},
        "FACTD_RELEASE": str(version.number),
        "FACTD_VERSION": version.name,
        "FACTD_FOLDER": version.folder,
        "FACTD_ADAPTER": version.adapter,
        "FACTD_DIGEST": version.digest,
    }


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process and everything in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(GRACE_SECONDS)


def last_line(output: BinaryIO) -> str:
    """The last line that is not blank, with unprintable characters replaced."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL))
    lines = [line.strip() for line in output.read().decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in last)[:MOST]


def connect(settings: CommandSettings) -> Command:
    """A server that a command updates. Raises: BadConfig: the key cannot be read."""
    return Command(settings)


_: Connect = connect
