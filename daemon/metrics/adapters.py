"""The ranks of published adapters, from the manifest of the live version.

Read once for each version.

factd_adapter_rank{publisher="adapter"} 138
factd_adapter_rank_max{publisher="adapter"} 512

The rank is the rank of the delta before truncation; it grows with the facts. 0: the live version's
adapter changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from factd.daemon.artefacts.versions import Versions
from factd.daemon.publishers import adapter
from factd.editor.errors import DamagedArtefact
from factd.editor.files.manifests import MANIFEST, read_manifest


class AdapterCollector(Collector):
    """The rank of each adapter of the live version, and the highest rank allowed."""

    def __init__(self, current: Path, allowed: Mapping[str, int]) -> None:
        self.current, self.allowed = current, allowed
        self.ranks_in = lru_cache(maxsize=2)(self._ranks_in)

    @classmethod
    def of(cls, versions: Versions) -> "AdapterCollector":
        """A collector for the adapters that [publish] switches on. Raises: BadConfig."""
        tables = {name: publisher.settings for name, publisher in versions.publishers.items()}
        allowed = {n: t.max_rank for n, t in tables.items() if isinstance(t, adapter.Settings)}
        return cls(versions.root / "current", allowed)

    def describe(self) -> Iterable[Metric]:
        """No families: registering must not read files."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Both families. They have no samples if [publish] has no adapter."""
        ranks = self.ranks()
        text = "Rank of the live release's delta, as an adapter; 0: it changes nothing."
        rank = GaugeMetricFamily("factd_adapter_rank", text, labels=["publisher"])
        text = "Highest rank that an adapter may have, [publish.adapter] max_rank."
        most = GaugeMetricFamily("factd_adapter_rank_max", text, labels=["publisher"])
        for name, allowed in self.allowed.items():
            rank.add_metric([name], ranks.get(name, 0))
            most.add_metric([name], allowed)
        yield rank
        yield most

    def ranks(self) -> Mapping[str, int]:
        """The rank of each adapter of the live version; empty if no version can be read."""
        if not self.allowed:
            return {}
        try:
            folder = self.current.resolve()
            return self.ranks_in(folder, (folder / MANIFEST).stat().st_mtime_ns)
        except (OSError, DamagedArtefact):
            return {}

    def _ranks_in(self, folder: Path, changed_ns: int) -> Mapping[str, int]:
        manifest: Mapping[str, Any] = read_manifest(folder)
        entries = {name: manifest.get(name) or {} for name in self.allowed}
        return {name: int(entry.get("rank", 0)) for name, entry in entries.items()}
