"""The configured sources and channels: each [sources.NAME] and [notify.NAME] with the file that its kind names."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

import daemon.channels
import daemon.sources
from daemon.channels import Channel, ChannelSettings
from daemon.config import Config
from daemon.errors import BadConfig
from daemon.sources import Page, Pages, SourceSettings, Tools

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Configured:
    """One source."""

    name: str
    settings: SourceSettings
    pages: Callable[[Any, Mapping[str, Any], Tools], Pages]
    recheck: Callable[[Any, Sequence[str], Tools], Iterator[Page]] | None  # where it can tell
    receive: Callable[..., Any] | None  # where it is sent to, over HTTP


@dataclass(frozen=True, kw_only=True)
class Told:
    """One channel."""

    name: str
    settings: ChannelSettings
    send: Channel


def kinds(package: ModuleType = daemon.sources) -> list[str]:
    """The files of daemon/sources, or of another package of that make."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def configured(config: Config) -> dict[str, Configured]:
    """The sources of a configuration by name. Raises: BadConfig: names the key."""
    found = {}
    for name, table in config.sources.tables().items():
        module, settings = read(daemon.sources, f"sources.{name}", table)
        found[name] = Configured(
            name=name,
            settings=rooted(settings, config.root),
            pages=module.pages,
            recheck=getattr(module, "recheck", None),
            receive=getattr(module, "receive", None),
        )
    return found


def channels(config: Config) -> dict[str, Told]:
    """The channels of a configuration that are switched on, by name. Raises: BadConfig: names the key."""
    found = {}
    for name, table in config.notify.tables().items():
        module, settings = read(daemon.channels, f"notify.{name}", table)
        if settings.enabled:
            found[name] = Told(name=name, settings=rooted(settings, config.root), send=module.send)
    return found


def read(package: ModuleType, where: str, table: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The file of a package that a table's kind names, and the table as its settings. Raises: BadConfig."""
    kind = str(table["kind"])
    if kind not in kinds(package):
        there = ", ".join(kinds(package))
        raise BadConfig(f"{where}: no kind {kind!r}; there are {there}")
    module = import_module(f"{package.__name__}.{kind}")
    try:
        return module, module.Settings(**table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (where, *first["loc"]))
        raise BadConfig(f"{key}: {first['msg']}") from error


def rooted(settings: S, root: Path) -> S:
    """The settings with their relative paths meant from a folder."""
    paths = {k: root / v for k, v in settings if isinstance(v, Path)}
    return settings.model_copy(update=paths)
