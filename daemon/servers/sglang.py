"""SGLang. Whole checkpoints, read from disk while it runs, or adapters (`mode = "adapter"`, `--enable-lora`).

Its prefix cache forgets with the weights, and an adapter that is loaded again under its name is a new one to it. It waits for
who is being answered, unless `abort_requests`. Where reading fails it says that it puts back what it had, and reads the new
path again (0.5.23): only loading the version before does that.
"""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from factd.daemon.servers import Completion, Connect, Report, Server, SingleVersionServer, Version
from factd.daemon.servers._completions import complete
from factd.daemon.servers._http import Api, key_in
from factd.daemon.servers._lora import Adapters, AdapterSettings, Routes

INFO = ("/model_info", "/get_model_info", "/get_weight_version")  # of releases, newest first


class SglangSettings(AdapterSettings):
    """A [servers.NAME] of this kind"""

    mode: Literal["weights", "adapter"] = "weights"
    model: str  # --served-model-name; users ask for it, or for "model:name" with adapters
    admin_key_file: Path | None = None  # where it is started with --admin-api-key
    abort_requests: bool = False  # who is being answered is cut off instead of waited for

    @property
    def takes_adapters(self) -> bool:
        """As the mode says."""
        return self.mode == "adapter"

    @model_validator(mode="after")
    def _has_no_colon(self) -> "SglangSettings":
        if ":" in self.model and self.mode == "adapter":
            raise ValueError(
                f"{self.model!r}: a colon stands between model and adapter; serve it under another name"
            )
        return self

    def ready(self) -> None:
        """Raises: BadConfig: a key cannot be read."""
        super().ready()
        key_in(self.admin_key_file)


Settings = SglangSettings  # the plugin loader looks for this name


class Weights(SingleVersionServer):
    """SGLang with whole checkpoints."""

    asks = True

    def __init__(self, settings: SglangSettings, api: Api, admin: Api) -> None:
        self.settings, self.api, self.admin = settings, api, admin

    def load(self, version: Version) -> None:
        """Read a version's weights in the place of those that are there. Raises: HandoverFailed."""
        body = {
            "model_path": version.folder,
            "weight_version": version.name,
            "flush_cache": True,
            "abort_all_requests": self.settings.abort_requests,
        }
        seconds = self.settings.load_seconds
        answer = self.admin.done("POST", "/update_weights_from_disk", body, seconds=seconds)
        if self.admin.table(answer).get("success") is not True:  # told with 200 by some releases
            raise self.admin.refused(answer)

    def report(self) -> Report:
        """The version of its last load; "default" since its start. Raises: HandoverFailed."""
        for path in INFO:
            answer = self.api.ask("GET", path)
            if answer.good:
                named = self.api.table(answer).get("weight_version")
                return Report(serving=named if isinstance(named, str) else None)
            if answer.status != 404:
                raise self.api.refused(answer)
        return Report(serving=None)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation of a prompt, as users get it. Raises: HandoverFailed."""
        return complete(self.api, self.settings.model, prompt, tokens=tokens)

    def close(self) -> None:
        """End the connections."""
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
