"""Fakes of vLLM and SGLang: the endpoints that factd uses, over real HTTP, with a tiny real model.

    with FakeVllm(base) as engine:
        engine.misbehave("old weights")
        ...  # engine.url, engine.asked, engine.loaded

Weights are what `from_pretrained` reads from a folder. Adapters are added to a copy of them.
Answers are greedy, and cached as a prefix cache does. What each engine does and refuses was read
in the sources of vLLM 0.1x and SGLang 0.5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.fakes.engine import FakeEngine, Held
from support.fakes.http import Asked, Reply
from support.tiny_model import Refused, error


@dataclass
class FakeVllm(FakeEngine):
    """vLLM's server."""

    runtime_lora: bool = True  # VLLM_ALLOW_RUNTIME_LORA_UPDATING=1
    dev_mode: bool = True  # VLLM_SERVER_DEV_MODE=1
    in_place: bool = True  # it knows load_inplace
    busy: bool = False  # a request is always in progress
    cache_by_name: bool = (
        False  # the key of the prefix cache is the name alone, as in some releases
    )

    def start(self) -> None:
        super().start()
        self.paused, self.version, self.gone = False, "default", False

    def found(self, name: str) -> Held:
        """vLLM 0.32 ends when a question needs weights that it could not read.

        docs/reference/serving-engines.md describes this behaviour.
        """
        if self.gone:
            self.is_away = True
            raise ConnectionResetError("the engine ended")
        return super().found(name)

    def routes(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        found = dict(super().routes())
        if self.runtime_lora:
            found |= {"/v1/load_lora_adapter": self.load, "/v1/unload_lora_adapter": self.unload}
        if self.dev_mode:
            found |= {
                "/pause": lambda _: self.pause(True),
                "/resume": lambda _: self.pause(False),
                "/collective_rpc": self.reload,
                "/reset_prefix_cache": self.reset,
                "/update_weight_version": self.name_weights,
                "/weight_info": lambda _: {"weight_version": self.version},
            }
        return found

    def cache_key(self, name: str, held: Held) -> tuple[str, ...]:
        """Dense weights are not part of it, and in some releases an adapter's path is not."""
        dense = name == self.served_name
        return (name,) if dense or self.cache_by_name else super().cache_key(name, held)

    def reset(self, body: dict[str, Any]) -> Any:
        done = not self.busy or body.get("reset_running_requests") == "true"
        if done:
            self.forget()
        return b"" if self.cache_by_name else {"success": done}  # older ones do not say

    def load(self, body: dict[str, Any]) -> Any:
        name = body["lora_name"]
        if name in self.adapters and not (self.in_place and body.get("load_inplace")):
            why = f"The lora adapter '{name}' has already been loaded."
            raise Refused(400, error(why))
        held = self.adapter(name, body)
        with self.lock:
            self.adapters[name] = held
        return f"Success: LoRA adapter '{name}' added successfully.".encode()

    def unload(self, body: dict[str, Any]) -> Any:
        name = body["lora_name"]
        if name not in self.adapters:
            raise Refused(404, error(f"The lora adapter '{name}' cannot be found."))
        del self.adapters[name]
        return f"Success: LoRA adapter '{name}' removed successfully.".encode()

    def pause(self, how: bool) -> Any:
        self.paused = how
        return {"status": "paused" if how else "resumed"}

    def reload(self, body: dict[str, Any]) -> Any:
        if body["method"] != "reload_weights":
            raise Refused(500, {"detail": f"no method {body['method']!r}"})
        path = body["kwargs"]["weights_path"]
        self.gone = not (Path(path) / "config.json").is_file()
        if self.gone:
            raise Refused(500, error(f"Repo id must be in the form 'repo_name': '{path}'"))
        held = self.taken(self.served_name, path, self.weights, self.first.reloaded)
        with self.lock:
            self.weights = Held(held.model, self.weights.root)  # it does not say what it read
        return {"results": [None]}

    def name_weights(self, body: dict[str, Any]) -> Any:
        self.version = body["new_version"]
        return {"success": True, "new_version": self.version}


@dataclass
class FakeSglang(FakeEngine):
    """SGLang's server."""

    info: str = "/model_info"  # where releases differ
    admin_key: str = ""

    def start(self) -> None:
        super().start()
        self.version = "default"

    def routes(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        return {
            **super().routes(),
            self.info: lambda _: {"model_path": self.weights.root, "weight_version": self.version},
            "/update_weights_from_disk": self.update,
            "/flush_cache": self.flush,
            "/load_lora_adapter": self.load,
            "/unload_lora_adapter": self.unload,
        }

    def flush(self, _: dict[str, Any]) -> bytes:
        self.forget()
        return b"Cache flushed.\n"

    def _answer(self, asked: Asked) -> Reply:
        managed = "lora_adapter" in asked.path or asked.path == "/update_weights_from_disk"
        if self.admin_key and managed:
            if asked.headers.get("authorization") != f"Bearer {self.admin_key}":
                return Reply(status=403, body=b'{"error": "admin_api_key is required"}')
            asked = Asked(asked.path, asked.query, {}, asked.method, asked.body)
            before, self.api_key = self.api_key, ""
            try:
                return super()._answer(asked)
            finally:
                self.api_key = before
        return super()._answer(asked)

    def found(self, name: str) -> Held:
        base, _, adapter = name.partition(":")
        if base != self.served_name or (adapter and adapter not in self.adapters):
            raise Refused(400, error(f"The model `{name}` does not exist."))
        return self.adapters[adapter] if adapter else self.weights

    def cache_key(self, name: str, held: Held) -> tuple[str, ...]:
        """An adapter that is loaded again is another one to it."""
        again = ":" in name and self.wrong != "stale cache"
        return (name, str(held.id)) if again else (name,)

    def update(self, body: dict[str, Any]) -> Any:
        path = Path(body["model_path"])
        if not (path / "config.json").is_file():
            why = {"success": False, "message": f"Failed to get weights iterator: {path}"}
            raise Refused(400, {**why, "num_paused_requests": 0})
        held = self.taken(self.served_name, str(path), self.weights, self.first.reloaded)
        with self.lock:
            self.weights = held
            wrong = held.root != str(path)
            self.version = (
                Path(held.root).name if wrong else body.get("weight_version") or self.version
            )
            if body.get("flush_cache", True):
                self.forget()
        return {
            "success": True,
            "message": "Succeeded to update model weights.",
            "num_paused_requests": 0,
        }

    def load(self, body: dict[str, Any]) -> Any:
        name = body["lora_name"]
        if name in self.adapters:
            raise Refused(
                400, {"success": False, "error_message": f"LoRA adapter {name} is already loaded."}
            )
        held = self.adapter(name, body)
        with self.lock:
            self.adapters[name] = held
        return {"success": True, "loaded_adapters": {n: h.root for n, h in self.adapters.items()}}

    def unload(self, body: dict[str, Any]) -> Any:
        name = body["lora_name"]
        if name not in self.adapters:
            raise Refused(400, {"success": False, "error_message": f"{name} is not loaded."})
        del self.adapters[name]
        return {"success": True, "loaded_adapters": {n: h.root for n, h in self.adapters.items()}}
