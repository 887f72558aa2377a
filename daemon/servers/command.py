"""A command of yours that makes a version the served one: `systemctl restart`, `kubectl rollout`, a script.

It is started without a shell, with FACTD_RELEASE, FACTD_VERSION, FACTD_FOLDER, FACTD_ADAPTER and FACTD_DIGEST and nothing
else of factd's environment but what `keep` names. Exit code 0 means that the version is served, anything else that it is not.
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

TAIL = 4096  # bytes of what it said last
MOST = 300  # characters of its last line
GRACE_SECONDS = 5.0  # between being told to end and being ended


class CommandSettings(CompletionServerSettings):
    """A [servers.NAME] of this kind"""

    command: tuple[str, ...] = Field(min_length=1)  # the program and its arguments
    keep: tuple[str, ...] = ("PATH", "HOME", "LANG", "TZ")  # variables of factd's environment

    def ready(self) -> None:
        """Raises: BadConfig: there is no such program, or the key cannot be read."""
        super().ready()
        if shutil.which(self.command[0]) is None:
            raise BadConfig(f"{self.command[0]} is no program that can be run; give its whole path")


Settings = CommandSettings  # the plugin loader looks for this name


class Command(CompletionServer):
    """A command, and where what it brings up is asked."""

    def __init__(self, settings: CommandSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    def load(self, version: Version) -> None:
        """Run it. Raises: HandoverFailed: with the last line of what it said, or that it took too long."""
        environment = environment_of(version, self.settings.keep)
        with tempfile.TemporaryFile() as said:  # a file: whoever it leaves running may keep it open
            code = self._run(environment, said)
            last = last_line(said)
        name = self.settings.command[0]
        if code is None:
            raise HandoverFailed(
                f"{name} took longer than load_seconds = {self.settings.load_seconds:g} and was ended"
            )
        if code != 0:
            raise HandoverFailed(f"{name} ended with {code}{': ' * bool(last)}{last}")

    def report(self) -> Report:
        """It cannot say."""
        return Report(serving=None)

    def _run(self, environment: dict[str, str], said: BinaryIO) -> int | None:
        """The exit code; None where it had to be ended."""
        try:
            process = subprocess.Popen(
                self.settings.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # a process group of its own, which can be ended as a whole
            )
        except OSError as error:
            name = self.settings.command[0]
            raise HandoverFailed(f"{name} cannot be started ({error.strerror})") from error
        try:
            return process.wait(self.settings.load_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                end(process)


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


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(GRACE_SECONDS)


def last_line(said: BinaryIO) -> str:
    """The last line that says something, as it may be shown."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - TAIL))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in last)[:MOST]


def connect(settings: CommandSettings) -> Command:
    """A command. Raises: BadConfig: the key cannot be read."""
    return Command(settings)


_: Connect = connect
