"""The servers that a release is handed to, and how hand-overs are done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from factd.daemon.config.tables import ServersTable
from factd.daemon.plugins import ConfiguredServer


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The configured servers, read when they are first needed."""

    table: ServersTable
    load: Callable[[], Mapping[str, ConfiguredServer]]

    @cached_property
    def servers(self) -> Mapping[str, ConfiguredServer]:
        """The servers that are switched on, by name. Raises: BadConfig."""
        return self.load()
