"""A registered model of an MLflow registry, whose alias stands at the version; needs `factd[mlflow]`.

A version is registered once, found again by the digest of its manifest; the files stay where they are, and the registry
says where. Whoever deploys follows the alias; nobody is asked. MLflow reads its own credentials from MLFLOW_TRACKING_….
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
GONE = "RESOURCE_DOES_NOT_EXIST"  # MLflow's name for what is not there
NO_ALIAS = "INVALID_PARAMETER_VALUE"  # its databases' name for an alias that is not there


class MlflowSettings(ServerSettings):
    """A [servers.NAME] of this kind"""

    registry: str = Field(
        pattern=r"^[a-z][a-z0-9+-]*:\S+$"
    )  # its URI, "https://…" or "sqlite:///…"
    model: str = Field(min_length=1, pattern=r"^[^/:'\"]+$")  # the registered model
    alias: str = Field(default="production", min_length=1)
    form: Literal["checkpoint", "adapter"] = "checkpoint"  # where a version's source points to
    create: bool = False  # the registered model, where it is not there

    @property
    def takes_adapters(self) -> bool:
        """As the form says."""
        return self.form == "adapter"

    def ready(self) -> None:
        """Raises: BadConfig: the library is not installed."""
        try:
            import mlflow  # noqa: F401 - is it there?
        except ImportError as error:
            raise BadConfig("servers of kind mlflow need `pip install 'factd[mlflow]'`") from error


Settings = MlflowSettings  # the plugin loader looks for this name


class Registry(SingleVersionServer):
    """One registered model."""

    def __init__(self, settings: MlflowSettings, client: "MlflowClient") -> None:
        self.settings, self.client = settings, client

    def load(self, version: Version) -> None:
        """Register a version, unless it is, and move the alias there. Raises: HandoverFailed."""
        source = version.folder if self.settings.form == "checkpoint" else version.adapter
        if not source:
            raise HandoverFailed(
                f'{version.name} has no adapter; switch on [publish.adapter] or set form = "checkpoint"'
            )
        self._bounded(partial(self._register, version, source), self.settings.load_seconds)

    def report(self) -> Report:
        """The version that the alias stands at. Raises: HandoverFailed."""
        return Report(serving=self._bounded(self._served))

    def _register(self, version: Version, source: str) -> None:
        model = self.settings.model
        if self.settings.create and not self._there():
            self.client.create_registered_model(model)
        query = f"name = '{model}' and tags.`factd.digest` = '{version.digest}'"
        found = [m for m in self.client.search_model_versions(query) if m.source == source]
        number = found[0].version if found else self._registered(version, source)
        self.client.set_registered_model_alias(model, self.settings.alias, str(number))

    def _registered(self, version: Version, source: str) -> str:
        tags = {
            "factd.version": version.name,
            "factd.release": str(version.number),
            "factd.digest": version.digest,
        }
        made = self.client.create_model_version(self.settings.model, source, tags=tags)
        return str(made.version)

    def _there(self) -> bool:
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
