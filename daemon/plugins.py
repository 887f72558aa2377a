"""What the configuration names: each [sources.NAME], [notify.NAME], [publish.NAME], [servers.NAME] with its kind's file."""

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
from factd.daemon.config.load import Config
from factd.daemon.config.tables import NamedTables
from factd.daemon.errors import BadConfig
from factd.daemon.publishers import Publisher, PublisherSettings
from factd.daemon.servers import Server, ServerSettings
from factd.daemon.sources import SourcePage, SourcePages, SourceSettings, SourceTools

S = TypeVar("S", bound=BaseModel)
ADAPTER = "adapter"  # the publisher whose folder in a version is the version's adapter


@dataclass(frozen=True, kw_only=True)
class ConfiguredSource:
    """One source."""

    name: str
    settings: SourceSettings
    pages: Callable[[Any, Mapping[str, Any], SourceTools], SourcePages]
    recheck: (
        Callable[[Any, Sequence[str], SourceTools], Iterator[SourcePage]] | None
    )  # where it can tell
    receive: Callable[..., Any] | None  # where it is sent to, over HTTP


@dataclass(frozen=True, kw_only=True)
class ConfiguredChannel:
    """One channel."""

    name: str
    settings: ChannelSettings
    send: Channel


@dataclass(frozen=True, kw_only=True)
class ConfiguredPublisher:
    """One publisher."""

    name: str
    settings: PublisherSettings
    write: Publisher


@dataclass(frozen=True, kw_only=True)
class ConfiguredServer:
    """One server."""

    name: str
    settings: ServerSettings
    connect: Callable[[Any], Server]


def kinds(package: ModuleType = factd.daemon.sources) -> list[str]:
    """The plugins of daemon/sources, or of another folder of plugins; helpers begin with an underscore."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def sources(config: Config) -> dict[str, ConfiguredSource]:
    """The sources of a configuration by name. Raises: BadConfig: names the key."""
    found = {}
    for name, table in config.sources.tables().items():
        module, settings = load_plugin(factd.daemon.sources, f"sources.{name}", table)
        found[name] = ConfiguredSource(
            name=name,
            settings=with_root(settings, config.root),
            pages=module.pages,
            recheck=getattr(module, "recheck", None),
            receive=getattr(module, "receive", None),
        )
    return found


def channels(config: Config) -> dict[str, ConfiguredChannel]:
    """The channels of a configuration that are switched on, by name. Raises: BadConfig: names the key."""
    found = _switched_on(factd.daemon.channels, "notify", config.notify, config.root)
    return {
        n: ConfiguredChannel(name=n, settings=own, send=module.send)
        for n, (module, own) in found.items()
    }


def publishers(config: Config) -> dict[str, ConfiguredPublisher]:
    """The publishers of a configuration that are switched on, by name. Raises: BadConfig: names the key."""
    found = _switched_on(factd.daemon.publishers, "publish", config.publish, config.root)
    return {
        n: ConfiguredPublisher(name=n, settings=own, write=module.write)
        for n, (module, own) in found.items()
    }


def servers(config: Config) -> dict[str, ConfiguredServer]:
    """The servers of a configuration that are switched on, by name. Raises: BadConfig: names the key."""
    found = _switched_on(factd.daemon.servers, "servers", config.servers, config.root)
    for name, (_, own) in found.items():
        if own.takes_adapters and ADAPTER not in publishers(config):
            raise BadConfig(f"servers.{name} takes adapters; switch on [publish.{ADAPTER}]")
    return {
        n: ConfiguredServer(name=n, settings=own, connect=module.connect)
        for n, (module, own) in found.items()
    }


def _switched_on(
    package: ModuleType, where: str, named: NamedTables, root: Path
) -> dict[str, tuple[ModuleType, Any]]:
    found = {}
    for name, table in named.tables().items():
        module, settings = load_plugin(package, f"{where}.{name}", table)
        if settings.enabled:
            found[name] = (module, with_root(settings, root))
    return found


def load_plugin(
    package: ModuleType, where: str, table: Mapping[str, Any]
) -> tuple[ModuleType, Any]:
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


def with_root(settings: S, root: Path) -> S:
    """The settings with their relative paths meant from a folder."""
    paths = {k: root / v for k, v in settings if isinstance(v, Path)}
    return settings.model_copy(update=paths)
