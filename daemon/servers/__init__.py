"""Servers that a release is handed to, one file each: `Settings`, its table of the configuration, and `connect`, which makes one.

Every call is one attempt and bounded in time. `load` is idempotent: a hand-over that a crash cut short is made again.
Whoever hands over (daemon/rollout/handover.py) asks the server the same questions before and after, compares with what the release
answered when it was checked, and has the version before loaded again where that is not what it says. So `load` always acts,
also where the server says that it has the version already: what it says and what it answers may differ.

What several of them need stands beside this package: daemon/servers/_http.py (HTTP), daemon/servers/_completions.py (asking), daemon/servers/_lora.py.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.errors import HandoverFailed


class ServerSettings(BaseModel):
    """What every [servers.NAME] has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str  # the file in daemon/servers; the table's own name where it is not given
    enabled: bool = True
    canary: bool = False  # is among the first that get a release
    root: PurePosixPath | None = None  # where the server finds [publish] path; none: where we do
    load_seconds: float = Field(default=600.0, gt=0)  # for taking up a version
    tolerance: float = Field(default=0.1, gt=0)  # of the logprob of an answer's tokens, mean, nats
    answer_seconds: float = Field(default=30.0, gt=0)  # for anything else that it is asked

    @property
    def takes_adapters(self) -> bool:
        """It serves the base with a version's adapter, and not its checkpoint."""
        return False

    def ready(self) -> None:
        """Raises: BadConfig: a file that it names cannot be read."""


VERSION_NAME = re.compile(r"factd-\d+-[0-9a-f]{12}")  # a version's name


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version as a server finds it."""

    number: int  # of the release; 0: the base
    folder: str  # its checkpoint
    adapter: str  # its adapter; empty: it has none (the base needs none)
    digest: str  # SHA-256 of its manifest, hexadecimal

    @property
    def name(self) -> str:
        """One that no other content has, however often a release is written again."""
        return f"factd-{self.number}-{self.digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a server says of itself."""

    serving: str | None  # the version, or what else users get; "": nothing; None: it cannot say
    loaded: tuple[str, ...] = ()  # names of all versions that it holds, where it can say


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A greedy continuation."""

    text: str
    logprobs: tuple[float, ...] = ()  # of its tokens, natural; empty: the server does not tell


class Server(Protocol):
    """One server, connected."""

    asks: bool  # it can be asked through a completion API
    stages: bool  # it can hold a version beside the one that its users get

    def load(self, version: Version) -> None:
        """Give users this version from now on; done already is done. Raises: HandoverFailed."""
        ...

    def stage(self, version: Version) -> None:
        """Hold a version that users do not get yet; only where `stages`. Raises: HandoverFailed."""
        ...

    def drop(self, version: Version) -> None:
        """Forget a version that users do not get (any more); none there is none. Raises: HandoverFailed."""
        ...

    def report(self) -> Report:
        """What it says that it holds. Raises: HandoverFailed."""
        ...

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation of a prompt, as users get it, or of a staged version. Raises: HandoverFailed."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class SingleVersionServer:
    """What a server does that holds one version and cannot be asked: nothing."""

    asks = stages = False

    def stage(self, version: Version) -> None:
        """It cannot. Raises: HandoverFailed."""
        raise HandoverFailed(f"{version.name}: this server holds one version at a time")

    def drop(self, version: Version) -> None:
        """There is none beside the one that users get."""

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """It cannot. Raises: HandoverFailed."""
        raise HandoverFailed("this server cannot be asked")

    def close(self) -> None:
        """Nothing is open."""


Connect = Callable[[Any], Server]  # raises BadConfig: a file that its settings name cannot be read


def seen_from(settings: ServerSettings, path: Path, published: Path) -> str:
    """A path in the published folder as a server finds it."""
    if settings.root is None:
        return str(path)
    return str(settings.root / path.relative_to(published).as_posix())
