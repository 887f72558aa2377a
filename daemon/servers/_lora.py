"""Versions as LoRA adapters of one engine.

Each version is loaded under its own name. The version that users get is also loaded under the
users' name, which always stays the same. A version's own name is unique, so that it can be asked
before users get it, and so that the engine's list of adapters shows which version the users' name
stands for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import BaseModel, Field, ValidationError, field_validator

from factd.daemon.errors import HandoverFailed
from factd.daemon.network.client import origin
from factd.daemon.servers import VERSION_NAME, Completion, Report, Version
from factd.daemon.servers._completions import complete
from factd.daemon.servers._http import Api, EngineSettings


class AdapterSettings(EngineSettings):
    """The keys of an engine's table for adapters."""

    name: str = Field(default="factd", min_length=1)
    """The adapter that users ask for."""

    @field_validator("name")
    @classmethod
    def _is_no_version(cls, value: str) -> str:
        if VERSION_NAME.fullmatch(value):
            raise ValueError(
                f"{value!r} is a version's name; give users a name that stays the same"
            )
        return value


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The paths where an engine loads adapters, and the model name that selects one."""

    load: str
    unload: str
    asked: str = "{}"  # the form of the model name in a completion request
    in_place: bool = False  # it can replace a loaded adapter in one step


class _Card(BaseModel):
    id: str
    root: str | None = None  # the path of an adapter


class _Cards(BaseModel):
    data: tuple[_Card, ...]


class Adapters:
    """An engine that holds several versions as adapters."""

    asks = stages = True

    def __init__(self, settings: AdapterSettings, routes: Routes, api: Api, admin: Api) -> None:
        self.settings, self.routes, self.api, self.admin = settings, routes, api, admin

    def load(self, version: Version) -> None:
        """Give users this version from now on. Raises: HandoverFailed."""
        self.stage(version)
        name, is_loaded = self.settings.name, self.settings.name in self._held()
        if not (is_loaded and self.routes.in_place and self._replaced(name, version.adapter)):
            if is_loaded:
                self._unload(name)
            self._load(name, version.adapter)
        self._require_listed(name, version.adapter)

    def stage(self, version: Version) -> None:
        """Load a version under its own name. Raises: HandoverFailed."""
        if not version.adapter:
            raise HandoverFailed(
                f"{version.name} has no adapter; add a table [publish.adapter], which writes one "
                "with every release from then on, or choose the mode that takes whole checkpoints"
            )
        root = self._held().get(version.name)
        if root == version.adapter:
            return
        if root is not None:
            self._unload(version.name)
        self._load(version.name, version.adapter)
        self._require_listed(version.name, version.adapter)

    def drop(self, version: Version) -> None:
        """Unload a version's own name. Raises: HandoverFailed."""
        if version.name in self._held():
            self._unload(version.name)

    def report(self) -> Report:
        """The version that the users' name stands for. Raises: HandoverFailed."""
        held = self._held()
        own = tuple(sorted(name for name in held if VERSION_NAME.fullmatch(name)))
        return Report(serving=_serving(held.get(self.settings.name), held), loaded=own)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation of a prompt. Raises: HandoverFailed."""
        name = staged.name if staged else self.settings.name
        return complete(self.api, self.routes.asked.format(name), prompt, tokens=tokens)

    def close(self) -> None:
        """Close the connections."""
        self.api.close()
        self.admin.close()

    def _held(self) -> dict[str, str]:
        return listed(self.api)

    def _require_listed(self, name: str, path: str) -> None:
        """Raises: HandoverFailed: the engine lists another path under this name."""
        root = self._held().get(name)
        if root != path:
            raise HandoverFailed(
                f"{origin(self.api.url)} lists {name} at {root}, not at {path}; "
                "look who else loads adapters"
            )

    def _load(self, name: str, path: str) -> None:
        body, seconds = {"lora_name": name, "lora_path": path}, self.settings.load_seconds
        self.admin.done("POST", self.routes.load, body, seconds=seconds)

    def _unload(self, name: str) -> None:
        body, seconds = {"lora_name": name}, self.settings.load_seconds
        answer = self.admin.ask("POST", self.routes.unload, body, seconds=seconds)
        if not answer.good and name in self._held():
            raise self.admin.refused(answer)

    def _replaced(self, name: str, path: str) -> bool:
        """Replace the adapter under a name in one step. False: the engine is too old for that."""
        body = {"lora_name": name, "lora_path": path, "load_inplace": True}
        seconds = self.settings.load_seconds
        answer = self.admin.ask("POST", self.routes.load, body, seconds=seconds)
        if answer.status == 400 and b"already been loaded" in answer.body:
            return False
        if not answer.good:
            raise self.admin.refused(answer)
        return True


def listed(api: Api) -> dict[str, str]:
    """The models and adapters that an engine lists: name -> path. Raises: HandoverFailed."""
    answer = api.done("GET", "/v1/models")
    try:
        cards = _Cards.model_validate_json(answer.body).data
    except ValidationError as error:
        raise HandoverFailed(
            f"{origin(api.url)}/v1/models is not a list of models; check url"
        ) from error
    return {card.id: card.root or "" for card in cards}


def _serving(root: str | None, held: Mapping[str, str]) -> str:
    """The name of the version at a path. An unknown path stays a path. Empty: there is no path."""
    if not root:
        return ""
    named = [part for part in PurePosixPath(root).parts if VERSION_NAME.fullmatch(part)]
    named += [name for name, path in held.items() if path == root and VERSION_NAME.fullmatch(name)]
    return named[0] if named else root
