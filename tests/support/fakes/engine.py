"""The fakes of vLLM and SGLang share completions with a prefix cache, and loads that can fail."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.fakes.http import Asked, Fake, Reply
from support.tiny_model import Refused, TinyModel, error

HANG_SECONDS = 60.0  # at most, until `release`
MISBEHAVIOURS = (
    "old weights",  # reports that it loaded, but did not
    "stale cache",  # never empties its cache of answers
    "500",  # refuses to load
    "hang",  # does not answer a load until `release`
    "crash",  # ends in the middle of a load, and restarts at once as it was started
    "away",  # ends in the middle of a load, and stays down until `release`
    "wrong version",  # loads another folder, `instead`, and reports it
    "wrong weights",  # loads another folder, `instead`, without reporting it
    "half loaded",  # loads half of the tensors
)


@cache
def started(base: Path) -> TinyModel:
    """What an engine is started with; nothing changes it."""
    return TinyModel.load(base)


@dataclass
class Held:
    """Something that is served under a name."""

    model: TinyModel
    root: str  # where it says that it lies
    id: int = field(default_factory=count().__next__)  # another one for every load


@dataclass
class FakeEngine:
    """What both have: completions with a prefix cache, loads that may go wrong, a key."""

    base: Path  # what it was started with
    api_key: str = ""
    most_rank: int = 64
    asked: list[Asked] = field(default_factory=list)
    loaded: list[tuple[str, str]] = field(default_factory=list)  # (name, path), in order
    served_name = "base"

    def __post_init__(self) -> None:
        self.wrong: str | None = None
        self.instead: Path | None = None
        self.times: int | None = None
        self.released, self.lock = threading.Event(), threading.Lock()
        self.is_away = False
        self.start()

    def start(self) -> None:
        """As it comes up."""
        self.first = started(self.base)
        self.weights = Held(self.first, str(self.base))
        self.adapters: dict[str, Held] = {}
        self.cache: dict[tuple[str, ...], bytes] = {}

    def __enter__(self) -> Self:
        self.fake = Fake(self._answer)
        self.asked = self.fake.asked
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        self.fake.stop()

    @property
    def url(self) -> str:
        return self.fake.url

    def misbehave(self, how: str, *, instead: Path | None = None, times: int | None = None) -> None:
        """From now on, for so many loads or until `behave`."""
        assert how in MISBEHAVIOURS
        self.wrong, self.instead, self.times = how, instead, times
        self.released.clear()

    def behave(self) -> None:
        """As the real ones do, from now on."""
        self.wrong, self.is_away = None, False
        self.released.set()

    def release(self) -> None:
        """What hangs goes on, who is away is back; loads are as they should be."""
        self.behave()

    def posts(self, path: str) -> list[dict[str, Any]]:
        """Bodies of the requests that came to a path."""
        return [json.loads(a.body or b"{}") for a in self.asked if a.path == path]

    def routes(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        """What answers each path; a list or a table is JSON, bytes are text."""
        return {"/v1/completions": self.complete, "/v1/models": lambda _: self.models()}

    def models(self) -> Any:
        own = {"id": self.served_name, "root": self.weights.root}
        more = [{"id": name, "root": held.root} for name, held in self.adapters.items()]
        return {"object": "list", "data": [own, *more]}

    def complete(self, body: dict[str, Any]) -> Any:
        held = self.found(body["model"])
        key = (*self.cache_key(body["model"], held), body["prompt"], str(body["max_tokens"]))
        if key not in self.cache:
            text, logprobs = held.model.greedy(body["prompt"], body["max_tokens"])
            shown = {"token_logprobs": logprobs} if body.get("logprobs") else None
            choice = {"index": 0, "text": text, "logprobs": shown, "finish_reason": "length"}
            self.cache[key] = json.dumps({"model": body["model"], "choices": [choice]}).encode()
        return self.cache[key]

    def cache_key(self, name: str, held: Held) -> tuple[str, ...]:
        return (name,) if self.wrong == "stale cache" else (name, held.root)

    def found(self, name: str) -> Held:
        if name == self.served_name:
            return self.weights
        if name in self.adapters:
            return self.adapters[name]
        raise Refused(404, error(f"The model `{name}` does not exist."))

    def forget(self) -> None:
        """Empty the prefix cache."""
        if self.wrong != "stale cache":
            self.cache.clear()

    def taken(
        self, name: str, path: str, old: Held | None, read: Callable[[Path], TinyModel]
    ) -> Held:
        """What is served after a load; `old` before it."""
        if self.wrong == "500":
            self._once()
            raise Refused(500, error("EngineCore encountered an issue."))
        if self.wrong == "hang":
            self.released.wait(HANG_SECONDS)
        if self.wrong in ("crash", "away"):
            self.is_away = self.wrong == "away"
            self._once()
            self.start()
            raise ConnectionResetError("the engine ended")
        other = self.wrong in ("wrong version", "wrong weights")
        made = read(self.instead if other and self.instead else Path(path))
        before = old.model if old else self.weights.model
        if self.wrong == "old weights":
            made = before
        if self.wrong == "half loaded":
            made = before.mixed_with(made)
        root = str(self.instead) if self.wrong == "wrong version" else path
        self.loaded.append((name, path))
        self._once()
        return Held(made, root)

    def _once(self) -> None:
        """A misbehaviour that is to happen so many times has happened once more."""
        if self.times is not None:
            self.times -= 1
            if self.times <= 0:
                self.wrong, self.times = None, None

    def _answer(self, asked: Asked) -> Reply:
        if self.is_away:
            raise ConnectionResetError("the engine is away")
        if self.api_key and asked.headers.get("authorization") != f"Bearer {self.api_key}":
            return Reply(status=401, body=b'{"error": "Unauthorized"}')
        route = self.routes().get(asked.path)
        if route is None:
            return Reply(status=404, body=b'{"detail": "Not Found"}')
        try:
            body = {**asked.query, **json.loads(asked.body or b"{}")}
            if asked.path in ("/v1/completions", "/v1/models"):
                with self.lock:
                    said = route(body)
            else:
                said = route(body)
        except Refused as refused:
            return refused.reply
        return Reply(body=said if isinstance(said, bytes) else json.dumps(said).encode())

    def adapter(self, name: str, body: dict[str, Any]) -> Held:
        """An adapter that is loaded. Raises: Refused: there is none at its path."""
        path = Path(body["lora_path"])
        if not (path / "adapter_config.json").is_file():
            raise Refused(404, error(f"Loading lora {name} failed: No adapter found for {path}"))
        first, most = self.first, self.most_rank
        old = self.adapters.get(name)
        return self.taken(name, str(path), old, lambda p: first.with_adapter(p, most_rank=most))
