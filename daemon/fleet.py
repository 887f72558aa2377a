"""The servers that releases are handed to, and the [servers] settings for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from factd.daemon.config.tables import ServersTable
from factd.daemon.plugins import ConfiguredServer


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The configured servers. They are loaded on the first use."""

    table: ServersTable
    load: Callable[[], Mapping[str, ConfiguredServer]]

    @cached_property
    def servers(self) -> Mapping[str, ConfiguredServer]:
        """The enabled servers, by name. Raises: BadConfig."""
        return self.load()
