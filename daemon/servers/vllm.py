"""vLLM, with versions as adapters that are loaded while it runs.

It needs `--enable-lora`, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and a private port.

`mode = "reload"` is experimental: whole checkpoints, through endpoints that vLLM has for
development (VLLM_SERVER_DEV_MODE=1).

In many releases of vLLM the key of the prefix cache is only the adapter's name
(https://github.com/vllm-project/vllm/issues/42125), so users of a new version get cache entries of
the version before. factd therefore empties the cache after every change. If vLLM lacks the endpoint
that empties the cache, the questions that factd asks afterwards find stale answers.
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
    """The keys of a [servers.NAME] table of kind vllm."""

    mode: Literal["adapter", "reload"] = "adapter"
    """What is loaded. "adapter": adapters; "reload": whole checkpoints, experimental."""
    switch: Literal["in_place", "unload"] = "in_place"
    """How a version is replaced.

    "unload": unload and load; for a moment the name does not exist.
    """
    model: str = ""
    """The name that users ask for; only with mode = "reload"."""

    @property
    def takes_adapters(self) -> bool:
        """The mode is `adapter`."""
        return self.mode == "adapter"

    @model_validator(mode="after")
    def _names_what_users_ask_for(self) -> "VllmSettings":
        if (self.mode == "reload") != bool(self.model):
            raise ValueError(
                "give model, the name that users ask for, "
                'with mode = "reload" and only then; adapters have name'
            )
        return self


Settings = VllmSettings  # the plugin loader looks for this name


class Lora(Adapters):
    """vLLM with adapters."""

    def load(self, version: Version) -> None:
        """Give users this version from now on. Raises: HandoverFailed."""
        super().load(version)
        empty_cache(self.admin)

    def drop(self, version: Version) -> None:
        """Unload a version, and empty the cache of answers under its name.

        Raises: HandoverFailed.
        """
        super().drop(version)
        empty_cache(self.admin)


class Reload(SingleVersionServer):
    """vLLM with whole checkpoints."""

    asks = True

    def __init__(self, settings: VllmSettings, api: Api) -> None:
        self.settings, self.api = settings, api

    def load(self, version: Version) -> None:
        """Wait for requests in progress, read the weights, empty the cache, resume.

        After a failed read vLLM has no weights, and the next request would crash it
        (docs/reference/serving-engines.md, 0.32). So vLLM is told to read the weights that it was
        started with, until the version before is loaded again. Raises: HandoverFailed.
        """
        seconds = self.settings.load_seconds
        self._post_if_available("/pause?mode=wait", {}, seconds)
        try:
            self._read(version.folder)
        except HandoverFailed:
            with suppress(HandoverFailed):
                self._read(listed(self.api).get(self.settings.model, ""))
                self._post_if_available(
                    "/update_weight_version", {"new_version": "default"}, seconds
                )
            raise
        finally:
            self._post_if_available("/resume", {}, seconds)
        self._post_if_available("/update_weight_version", {"new_version": version.name}, seconds)

    def _read(self, folder: str) -> None:
        seconds = self.settings.load_seconds
        body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
        self.api.done("POST", "/collective_rpc", body | {"timeout": seconds}, seconds=seconds)
        self.api.done("POST", "/reset_prefix_cache", {})

    def report(self) -> Report:
        """The version of the last load.

        Unknown after a restart, and in releases that do not store it.

        Raises: HandoverFailed.
        """
        answer = self.api.ask("GET", "/weight_info")
        if answer.status == 404:
            return Report(serving=None)
        if not answer.good:
            raise self.api.refused(answer)
        named = self.api.table(answer).get("weight_version")
        return Report(serving=named if isinstance(named, str) else None)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation that users get. Raises: HandoverFailed."""
        return complete(self.api, self.settings.model, prompt, tokens=tokens)

    def close(self) -> None:
        """Close the connection."""
        self.api.close()

    def _post_if_available(self, path: str, body: dict[str, str], seconds: float) -> None:
        """Send a request to an endpoint that only newer releases have. 404 is ignored."""
        answer = self.api.ask("POST", path, body, seconds=seconds)
        if not answer.good and answer.status != 404:
            raise self.api.refused(answer)


def empty_cache(api: Api) -> None:
    """Empty the prefix cache, if vLLM offers that (only in its development mode).

    vLLM cannot do so during a request, unless it may restart that request. Older releases do not
    report whether they did. Raises: HandoverFailed.
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
