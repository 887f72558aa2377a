"""The plugins that a configuration names, loaded with their settings.

Each table [sources.NAME], [notify.NAME], [publish.NAME] and [servers.NAME] names a kind, which is a
file in that room. Files with an underscore are helpers.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

import factd.daemon.channels
import factd.daemon.publishers
import factd.daemon.servers
import factd.daemon.sources
from factd.daemon.channels import Channel, ChannelSettings
from factd.daemon.config.tables import NamedTables
from factd.daemon.configuration import Config
from factd.daemon.errors import BadConfig
from factd.daemon.publishers import Publisher, PublisherSettings
from factd.daemon.servers import Server, ServerSettings
from factd.daemon.sources import SourcePage, SourcePages, SourceSettings, SourceTools

S = TypeVar("S", bound=BaseModel)
ADAPTER = "adapter"  # the publisher whose folder in a version is the version's adapter


@dataclass(frozen=True, kw_only=True)
class ConfiguredSource:
    """A source of the configuration."""

    name: str
    settings: SourceSettings
    pages: Callable[[Any, Mapping[str, Any], SourceTools], SourcePages]
    recheck: (
        Callable[[Any, Sequence[str], SourceTools], Iterator[SourcePage]] | None
    )  # None: it cannot be asked again
    receive: Callable[..., Any] | None  # None: nothing is sent to it over HTTP


@dataclass(frozen=True, kw_only=True)
class ConfiguredChannel:
    """A channel of the configuration, for notices."""

    name: str
    settings: ChannelSettings
    send: Channel


@dataclass(frozen=True, kw_only=True)
class ConfiguredPublisher:
    """A publisher of the configuration."""

    name: str
    settings: PublisherSettings
    write: Publisher


@dataclass(frozen=True, kw_only=True)
class ConfiguredServer:
    """A server of the configuration."""

    name: str
    settings: ServerSettings
    connect: Callable[[Any], Server]


def kinds(package: ModuleType = factd.daemon.sources) -> list[str]:
    """The names of the plugins in a room, sorted."""
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def sources(config: Config) -> dict[str, ConfiguredSource]:
    """The sources of a configuration by name. Raises: BadConfig: it names the key."""
    made = {}
    for name, table in config.sources.tables().items():
        module, settings = load_plugin(factd.daemon.sources, f"sources.{name}", table)
        made[name] = ConfiguredSource(
            name=name,
            settings=with_root(settings, config.root),
            pages=module.pages,
            recheck=getattr(module, "recheck", None),
            receive=getattr(module, "receive", None),
        )
    return made


def channels(config: Config) -> dict[str, ConfiguredChannel]:
    """The enabled channels of a configuration, by name. Raises: BadConfig: it names the key."""
    loaded = _enabled(factd.daemon.channels, "notify", config.notify, config.root)
    return {
        n: ConfiguredChannel(name=n, settings=own, send=module.send)
        for n, (module, own) in loaded.items()
    }


def publishers(config: Config) -> dict[str, ConfiguredPublisher]:
    """The enabled publishers of a configuration, by name. Raises: BadConfig: it names the key."""
    loaded = _enabled(factd.daemon.publishers, "publish", config.publish, config.root)
    return {
        n: ConfiguredPublisher(name=n, settings=own, write=module.write)
        for n, (module, own) in loaded.items()
    }


def servers(config: Config) -> dict[str, ConfiguredServer]:
    """The enabled servers of a configuration, by name. Raises: BadConfig: it names the key."""
    loaded = _enabled(factd.daemon.servers, "servers", config.servers, config.root)
    for name, (_, own) in loaded.items():
        if own.takes_adapters and ADAPTER not in publishers(config):
            raise BadConfig(
                f"servers.{name} takes adapters; add a table [publish.{ADAPTER}], which writes them"
            )
    return {
        n: ConfiguredServer(name=n, settings=own, connect=module.connect)
        for n, (module, own) in loaded.items()
    }


def _enabled(
    package: ModuleType, where: str, named: NamedTables, root: Path
) -> dict[str, tuple[ModuleType, Any]]:
    loaded = {}
    for name, table in named.tables().items():
        module, settings = load_plugin(package, f"{where}.{name}", table)
        if settings.enabled:
            loaded[name] = (module, with_root(settings, root))
    return loaded


def load_plugin(
    package: ModuleType, where: str, table: Mapping[str, Any]
) -> tuple[ModuleType, Any]:
    """The module that a table's kind names, and the table as its settings. Raises: BadConfig."""
    kind = str(table["kind"])
    if kind not in kinds(package):
        there = ", ".join(kinds(package))
        raise BadConfig(f"{where}: there is no kind {kind!r}; choose one of {there}")
    module = import_module(f"{package.__name__}.{kind}")
    try:
        return module, module.Settings(**table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (where, *first["loc"]))
        raise BadConfig(f"{key}: {first['msg']}") from error


def with_root(settings: S, root: Path) -> S:
    """The settings with their relative paths below a folder."""
    paths = {k: root / v for k, v in settings if isinstance(v, Path)}
    return settings.model_copy(update=paths)
