"""SGLang, with whole checkpoints that it reads while it runs, or with adapters.

Adapters: `mode = "adapter"`, with `--enable-lora`.

SGLang empties its prefix cache when weights are loaded, and treats an adapter that is loaded again
under its name as new. It waits for requests in progress, unless `abort_requests` is set. If reading
fails, version 0.5.23 reports that it restores the old weights, but reads the new path again; only
loading the version before restores them.
"""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from factd.daemon.servers import Completion, Connect, Report, Server, SingleVersionServer, Version
from factd.daemon.servers._completions import complete
from factd.daemon.servers._http import Api, key_in
from factd.daemon.servers._lora import Adapters, AdapterSettings, Routes

INFO = (
    "/model_info",
    "/get_model_info",
    "/get_weight_version",
)  # paths of SGLang's releases, newest first


class SglangSettings(AdapterSettings):
    """The keys of a [servers.NAME] table of kind sglang."""

    mode: Literal["weights", "adapter"] = "weights"
    """What is loaded. "weights": whole checkpoints; "adapter": adapters."""
    model: str
    """Its --served-model-name. Users ask for it, or for "model:name" with adapters."""
    admin_key_file: Path | None = None
    """A file that holds its --admin-api-key, if it has one."""
    abort_requests: bool = False
    """Cut off running requests instead of waiting for them."""

    @property
    def takes_adapters(self) -> bool:
        """The mode is `adapter`."""
        return self.mode == "adapter"

    @model_validator(mode="after")
    def _has_no_colon(self) -> "SglangSettings":
        if ":" in self.model and self.mode == "adapter":
            raise ValueError(
                f"{self.model!r}: SGLang separates model and adapter by a colon; "
                "serve the model under a name without one"
            )
        return self

    def ready(self) -> None:
        """Check the keys. Raises: BadConfig: one cannot be read."""
        super().ready()
        key_in(self.admin_key_file)


Settings = SglangSettings  # the plugin loader looks for this name


class Weights(SingleVersionServer):
    """SGLang with whole checkpoints."""

    asks = True

    def __init__(self, settings: SglangSettings, api: Api, admin: Api) -> None:
        self.settings, self.api, self.admin = settings, api, admin

    def load(self, version: Version) -> None:
        """Replace the weights by those of a version. Raises: HandoverFailed."""
        body = {
            "model_path": version.folder,
            "weight_version": version.name,
            "flush_cache": True,
            "abort_all_requests": self.settings.abort_requests,
        }
        seconds = self.settings.load_seconds
        answer = self.admin.done("POST", "/update_weights_from_disk", body, seconds=seconds)
        if (
            self.admin.table(answer).get("success") is not True
        ):  # some releases answer 200 to a failure
            raise self.admin.refused(answer)

    def report(self) -> Report:
        """The version that was loaded last. "default": none since SGLang started.

        Raises: HandoverFailed.
        """
        for path in INFO:
            answer = self.api.ask("GET", path)
            if answer.good:
                named = self.api.table(answer).get("weight_version")
                return Report(serving=named if isinstance(named, str) else None)
            if answer.status != 404:
                raise self.api.refused(answer)
        return Report(serving=None)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation that users get. Raises: HandoverFailed."""
        return complete(self.api, self.settings.model, prompt, tokens=tokens)

    def close(self) -> None:
        """Close the connections."""
        self.api.close()
        self.admin.close()


def connect(settings: SglangSettings) -> Server:
    """A running SGLang. Raises: BadConfig: a key cannot be read."""
    key = key_in(settings.api_key_file)
    api = Api(settings, settings.url, key=key)
    admin = Api(settings, settings.url, key=key_in(settings.admin_key_file) or key)
    if settings.mode == "weights":
        return Weights(settings, api, admin)
    routes = Routes(
        load="/load_lora_adapter", unload="/unload_lora_adapter", asked=settings.model + ":{}"
    )
    return Adapters(settings, routes, api, admin)


_: Connect = connect
