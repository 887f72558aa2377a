"""The configured sources: each [sources.NAME] with the file of daemon/sources that its kind names."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import daemon.sources
from daemon.config import Config
from daemon.errors import BadConfig
from daemon.sources import Page, Pages, SourceSettings, Tools


@dataclass(frozen=True, kw_only=True)
class Configured:
    """One source."""

    name: str
    settings: SourceSettings
    pages: Callable[[Any, Mapping[str, Any], Tools], Pages]
    recheck: Callable[[Any, Sequence[str], Tools], Iterator[Page]] | None  # where it can tell
    receive: Callable[..., Any] | None  # where it is sent to, over HTTP


def kinds() -> list[str]:
    """The files of daemon/sources."""
    return sorted(module.name for module in pkgutil.iter_modules(daemon.sources.__path__))


def configured(config: Config) -> dict[str, Configured]:
    """The sources of a configuration by name. Raises: BadConfig: names the key."""
    found = {}
    for name, table in config.sources.tables().items():
        kind = str(table["kind"])
        if kind not in kinds():
            raise BadConfig(f"sources.{name}: no kind {kind!r}; there are {', '.join(kinds())}")
        module = import_module(f"daemon.sources.{kind}")
        try:
            settings = module.Settings(**table)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in ("sources", name, *first["loc"]))
            raise BadConfig(f"{key}: {first['msg']}") from error
        found[name] = Configured(
            name=name,
            settings=rooted(settings, config.root),
            pages=module.pages,
            recheck=getattr(module, "recheck", None),
            receive=getattr(module, "receive", None),
        )
    return found


def rooted(settings: SourceSettings, root: Path) -> SourceSettings:
    """The settings with their relative paths meant from a folder."""
    paths = {k: root / v for k, v in settings if isinstance(v, Path)}
    return settings.model_copy(update=paths)
