"""Servers that a release is handed to, one file each.

Each file has `Settings`, the class for its table of the configuration, and `connect`, which makes a
server. Every call is one attempt with a time limit. `load` is idempotent: a hand-over that was cut
short by a crash is made again.

The hand-over (daemon/rollout/handover.py) asks the server the same questions before and after
`load`, and compares with the answers that the release gave when it was checked. If they differ, the
version before is loaded again. So `load` always acts, even if the server reports that it has the
version already: its report and its answers may differ.

Helpers begin with an underscore: _http.py (HTTP), _completions.py (asking), _lora.py (adapters),
_deadline.py (time limits for libraries).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.errors import HandoverFailed


class ServerSettings(BaseModel):
    """The keys that every [servers.NAME] table has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/servers`; default: the name of the table."""
    enabled: bool = True
    """Hand releases to this server."""
    canary: bool = False
    """This server is among the first that get a release."""
    root: PurePosixPath | None = None
    """Where the server finds the folder of [publish] path; default: the same path as for factd."""
    load_seconds: float = Field(default=600.0, gt=0)
    """Time to load a version."""
    tolerance: float = Field(default=0.1, gt=0)
    """Allowed mean difference of the log probabilities of an answer's tokens, in nats."""
    answer_seconds: float = Field(default=30.0, gt=0)
    """Time for every other request."""

    @property
    def takes_adapters(self) -> bool:
        """The server serves the base with the adapter of a version, not its checkpoint."""
        return False

    def ready(self) -> None:
        """Check the files that the table names. Raises: BadConfig: one cannot be read."""


VERSION_NAME = re.compile(r"factd-\d+-[0-9a-f]{12}")  # a version's name


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version as a server sees it."""

    number: int  # of the release. 0: the base
    folder: str  # with its checkpoint
    adapter: str  # the folder of its adapter. Empty: it has no adapter
    digest: str  # SHA-256 of its manifest, hexadecimal

    @property
    def name(self) -> str:
        """A name that depends on the content: a release that is written anew gets another name."""
        return f"factd-{self.number}-{self.digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a server reports about itself."""

    serving: str | None  # the version that users get. "": none. None: unknown
    loaded: tuple[str, ...] = ()  # the names of the versions in its memory, if it can list them


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The greedy continuation of a prompt."""

    text: str
    logprobs: tuple[float, ...] = ()  # of its tokens, natural. Empty: unknown


class Server(Protocol):
    """A connected server."""

    asks: bool  # it has a completion API
    stages: bool  # it can hold another version beside the one that users get

    def load(self, version: Version) -> None:
        """Give users this version from now on. Idempotent. Raises: HandoverFailed."""
        ...

    def stage(self, version: Version) -> None:
        """Hold a version that users do not get yet. Only if `stages`. Raises: HandoverFailed."""
        ...

    def drop(self, version: Version) -> None:
        """Unload a version that users do not get (any more). Idempotent. Raises: HandoverFailed."""
        ...

    def report(self) -> Report:
        """What the server reports about itself. Raises: HandoverFailed."""
        ...

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation that users get, or that a staged version gives.

        Raises: HandoverFailed.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class SingleVersionServer:
    """The defaults of a server that holds one version and has no completion API."""

    asks = stages = False

    def stage(self, version: Version) -> None:
        """Not possible. Raises: HandoverFailed."""
        raise HandoverFailed(f"{version.name}: this server holds one version at a time")

    def drop(self, version: Version) -> None:
        """Nothing to do: no version is held beside the one that users get."""

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """Not possible. Raises: HandoverFailed."""
        raise HandoverFailed("this server has no completion API")

    def close(self) -> None:
        """Nothing to do: no connection is kept open."""


Connect = Callable[[Any], Server]  # raises BadConfig: a file of the settings cannot be read


def seen_from(settings: ServerSettings, path: Path, published: Path) -> str:
    """A path in the published folder as a server sees it."""
    if settings.root is None:
        return str(path)
    return str(settings.root / path.relative_to(published).as_posix())
