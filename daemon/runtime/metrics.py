"""The metrics of a configured application."""

from factd.daemon.app import App
from factd.daemon.metrics.exporter import Metrics
from factd.daemon.metrics.settings import metrics_settings


def metrics_of(app: App) -> Metrics:
    """The registry of an application, with its counters at 0. Raises: BadConfig."""
    settings = metrics_settings(
        app.config, sources=app.sources, servers=app.fleet.servers, gates=app.gates.gates
    )
    return Metrics(app.ledger, app.versions, settings)
