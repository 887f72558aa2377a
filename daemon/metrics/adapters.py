"""The rank budget of adapters, as the live version's manifest tells it: read at a scrape, once for each version.

factd_adapter_rank{publisher="adapter"} 138
factd_adapter_rank_max{publisher="adapter"} 512

The rank is that of the delta, also where it was cut; it grows with the facts. 0: the live version's changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from factd.daemon.app import App
from factd.daemon.publishers import adapter
from factd.editor.errors import DamagedArtefact
from factd.editor.files.manifests import MANIFEST, read_manifest


class AdapterCollector(Collector):
    """The rank of each adapter of the live version, and the rank that it may have."""

    def __init__(self, current: Path, allowed: Mapping[str, int]) -> None:
        self.current, self.allowed = current, allowed
        self.told = lru_cache(maxsize=2)(self._told)

    @classmethod
    def of(cls, app: App) -> "AdapterCollector":
        """Of the adapters that [publish] has. Raises: BadConfig."""
        tables = {name: publisher.settings for name, publisher in app.versions.publishers.items()}
        allowed = {n: t.max_rank for n, t in tables.items() if isinstance(t, adapter.Settings)}
        return cls(app.versions.root / "current", allowed)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read files."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Both families; empty where [publish] has no adapter."""
        ranks = self.ranks()
        text = "Of the live release's delta, as an adapter; 0: it changes nothing."
        rank = GaugeMetricFamily("factd_adapter_rank", text, labels=["publisher"])
        text = "That an adapter may have, [publish.adapter] max_rank."
        most = GaugeMetricFamily("factd_adapter_rank_max", text, labels=["publisher"])
        for name, allowed in self.allowed.items():
            rank.add_metric([name], ranks.get(name, 0))
            most.add_metric([name], allowed)
        yield rank
        yield most

    def ranks(self) -> Mapping[str, int]:
        """The rank of each adapter of the live version; none where no version is readable."""
        if not self.allowed:
            return {}
        try:
            folder = self.current.resolve()
            return self.told(folder, (folder / MANIFEST).stat().st_mtime_ns)
        except (OSError, DamagedArtefact):
            return {}

    def _told(self, folder: Path, changed_ns: int) -> Mapping[str, int]:
        manifest: Mapping[str, Any] = read_manifest(folder)
        told = {name: manifest.get(name) or {} for name in self.allowed}
        return {name: int(of.get("rank", 0)) for name, of in told.items()}
