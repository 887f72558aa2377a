"""vLLM. Versions are adapters, loaded while it runs: `--enable-lora`, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, a private port.

`mode = "reload"` is experimental: whole checkpoints through endpoints that vLLM has for development (VLLM_SERVER_DEV_MODE=1).

The key of the prefix cache was an adapter's name alone in many releases (https://github.com/vllm-project/vllm/issues/42125):
what it kept of the version before is given to users of the next. It is told to forget after every change; where the
endpoint is not there, the questions that are asked afterwards find out.
"""

from contextlib import suppress
from typing import Literal

from pydantic import model_validator

from factd.daemon.errors import HandoverFailed
from factd.daemon.servers import Completion, Connect, Report, Server, SingleVersionServer, Version
from factd.daemon.servers._completions import complete
from factd.daemon.servers._http import Api, key_in
from factd.daemon.servers._lora import Adapters, AdapterSettings, Routes, listed


class VllmSettings(AdapterSettings):
    """A [servers.NAME] of this kind"""

    mode: Literal["adapter", "reload"] = "adapter"  # reload: experimental
    switch: Literal["in_place", "unload"] = "in_place"  # unload: a moment without the name
    model: str = ""  # that users ask for; only with mode = "reload"

    @property
    def takes_adapters(self) -> bool:
        """As the mode says."""
        return self.mode == "adapter"

    @model_validator(mode="after")
    def _names_what_users_ask_for(self) -> "VllmSettings":
        if (self.mode == "reload") != bool(self.model):
            raise ValueError(
                'mode = "reload" needs model, the name that users ask for; adapters have name'
            )
        return self


Settings = VllmSettings  # the plugin loader looks for this name


class Lora(Adapters):
    """vLLM with adapters."""

    def load(self, version: Version) -> None:
        """Give users this version from now on. Raises: HandoverFailed."""
        super().load(version)
        forget(self.admin)

    def drop(self, version: Version) -> None:
        """Forget a version, and what was answered under its name: it may be loaded again. Raises: HandoverFailed."""
        super().drop(version)
        forget(self.admin)


class Reload(SingleVersionServer):
    """vLLM with whole checkpoints."""

    asks = True

    def __init__(self, settings: VllmSettings, api: Api) -> None:
        self.settings, self.api = settings, api

    def load(self, version: Version) -> None:
        """Wait for who is being answered, read the weights, forget what was cached, go on. Raises: HandoverFailed.

        After a read that failed vLLM has no weights at all, and the next question would end it (docs/engines-tried.md, 0.32):
        it gets those that it was started with, until the version before is back.
        """
        seconds = self.settings.load_seconds
        self._if_there("/pause?mode=wait", {}, seconds)
        try:
            self._read(version.folder)
        except HandoverFailed:
            with suppress(HandoverFailed):
                self._read(listed(self.api).get(self.settings.model, ""))
                self._if_there("/update_weight_version", {"new_version": "default"}, seconds)
            raise
        finally:
            self._if_there("/resume", {}, seconds)
        self._if_there("/update_weight_version", {"new_version": version.name}, seconds)

    def _read(self, folder: str) -> None:
        seconds = self.settings.load_seconds
        body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
        self.api.done("POST", "/collective_rpc", body | {"timeout": seconds}, seconds=seconds)
        self.api.done("POST", "/reset_prefix_cache", {})

    def report(self) -> Report:
        """What it was told that it serves, where it keeps that; it is gone after a restart. Raises: HandoverFailed."""
        answer = self.api.ask("GET", "/weight_info")
        if answer.status == 404:
            return Report(serving=None)
        if not answer.good:
            raise self.api.refused(answer)
        named = self.api.table(answer).get("weight_version")
        return Report(serving=named if isinstance(named, str) else None)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation of a prompt, as users get it. Raises: HandoverFailed."""
        return complete(self.api, self.settings.model, prompt, tokens=tokens)

    def close(self) -> None:
        """End the connection."""
        self.api.close()

    def _if_there(self, path: str, body: dict[str, str], seconds: float) -> None:
        """One request to an endpoint that only newer releases have."""
        answer = self.api.ask("POST", path, body, seconds=seconds)
        if not answer.good and answer.status != 404:
            raise self.api.refused(answer)


def forget(api: Api) -> None:
    """The prefix cache is emptied, where vLLM offers that (only in its development mode). Raises: HandoverFailed.

    It cannot while it answers somebody, unless it may begin with those requests again; older releases do not say whether it did.
    """
    for path in ("/reset_prefix_cache", "/reset_prefix_cache?reset_running_requests=true"):
        answer = api.ask("POST", path, {})
        if answer.status == 404 or b'"success":true' in answer.body.replace(b" ", b""):
            return
        if not answer.good:
            raise api.refused(answer)


def connect(settings: VllmSettings) -> Server:
    """A running vLLM. Raises: BadConfig: the key cannot be read."""
    api = Api(settings, settings.url, key=key_in(settings.api_key_file))
    if settings.mode == "reload":
        return Reload(settings, api)
    in_place = settings.switch == "in_place"
    routes = Routes(
        load="/v1/load_lora_adapter", unload="/v1/unload_lora_adapter", in_place=in_place
    )
    return Lora(settings, routes, api, api)


_: Connect = connect
