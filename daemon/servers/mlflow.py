"""A registered model in an MLflow registry, whose alias marks the version. Needs `factd[mlflow]`.

A version is registered once and found again by the digest of its manifest. The files stay where
they are; the registry stores their path. Whoever deploys follows the alias; there is no completion
API. MLflow reads its own credentials from the variables MLFLOW_TRACKING_….
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.servers import Connect, Report, ServerSettings, SingleVersionServer, Version
from factd.daemon.servers._deadline import bounded, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
GONE = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code for a missing entry
NO_ALIAS = "INVALID_PARAMETER_VALUE"  # the code of its databases for a missing alias


class MlflowSettings(ServerSettings):
    """The keys of a [servers.NAME] table of kind mlflow."""

    registry: str = Field(pattern=r"^[a-z][a-z0-9+-]*:\S+$")
    """URI of the registry, "https://…" or "sqlite:///…"."""
    model: str = Field(min_length=1, pattern=r"^[^/:'\"]+$")
    """The registered model."""
    alias: str = Field(default="production", min_length=1)
    """The alias that points to the version."""
    form: Literal["checkpoint", "adapter"] = "checkpoint"
    """What the source of a version points to."""
    create: bool = False
    """Make the registered model if it does not exist."""

    @property
    def takes_adapters(self) -> bool:
        """The form is `adapter`."""
        return self.form == "adapter"

    def ready(self) -> None:
        """Check the library. Raises: BadConfig: it is not installed."""
        try:
            import mlflow  # noqa: F401 - is it installed?
        except ImportError as error:
            raise BadConfig("servers of kind mlflow need `pip install 'factd[mlflow]'`") from error


Settings = MlflowSettings  # the plugin loader looks for this name


class Registry(SingleVersionServer):
    """A registered model."""

    def __init__(self, settings: MlflowSettings, client: "MlflowClient") -> None:
        self.settings, self.client = settings, client

    def load(self, version: Version) -> None:
        """Register a version, unless it is registered, and set the alias.

        Raises: HandoverFailed.
        """
        source = version.folder if self.settings.form == "checkpoint" else version.adapter
        if not source:
            raise HandoverFailed(
                f"{version.name} has no adapter; "
                'add a table [publish.adapter] or set form = "checkpoint"'
            )
        self._bounded(partial(self._register, version, source), self.settings.load_seconds)

    def report(self) -> Report:
        """The version that the alias marks. Raises: HandoverFailed."""
        return Report(serving=self._bounded(self._served))

    def _register(self, version: Version, source: str) -> None:
        model = self.settings.model
        if self.settings.create and not self._exists():
            self.client.create_registered_model(model)
        query = f"name = '{model}' and tags.`factd.digest` = '{version.digest}'"
        same = [m for m in self.client.search_model_versions(query) if m.source == source]
        number = same[0].version if same else self._registered(version, source)
        self.client.set_registered_model_alias(model, self.settings.alias, str(number))

    def _registered(self, version: Version, source: str) -> str:
        tags = {
            "factd.version": version.name,
            "factd.release": str(version.number),
            "factd.digest": version.digest,
        }
        made = self.client.create_model_version(self.settings.model, source, tags=tags)
        return str(made.version)

    def _exists(self) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(self.settings.model)
        except MlflowException as error:
            if error.error_code != GONE:
                raise
            return False
        return True

    def _served(self) -> str:
        from mlflow.exceptions import MlflowException

        try:
            at = self.client.get_model_version_by_alias(self.settings.model, self.settings.alias)
        except MlflowException as error:
            if error.error_code not in (GONE, NO_ALIAS):
                raise
            return ""
        return str(at.tags.get("factd.version", f"version {at.version}"))

    def _bounded(self, call: Callable[[], T], seconds: float | None = None) -> T:
        from mlflow.exceptions import MlflowException

        try:
            return bounded(
                call, seconds=seconds or self.settings.answer_seconds, what=self.settings.model
            )
        except MlflowException as error:
            raise HandoverFailed(f"MLflow, {self.settings.model}: {first_line(error)}") from error


def connect(settings: MlflowSettings) -> Registry:
    """A registered model. Raises: BadConfig: the library is not installed."""
    settings.ready()
    from mlflow import MlflowClient

    return Registry(settings, MlflowClient(settings.registry, settings.registry))


_: Connect = connect
