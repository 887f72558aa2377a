"""Configuration: one TOML file, environment variables `FACTD_…` over it, read once into frozen objects.

`FACTD_STORE__URL` is [store] url. Unknown keys and unknown FACTD_ variables are refused; relative paths are meant
from the file's folder.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from daemon.errors import BadConfig
from daemon.windows import Days, Window
from store.standings import RULES

PREFIX = "FACTD_"
DEFAULT = Path("factd.toml")


class Table(BaseModel):
    """A table of the file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreTable(Table):
    """[store]"""

    url: str = ""  # empty: SQLite in the state directory

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            return value and str(make_url(value).render_as_string(hide_password=False))
        except ArgumentError as error:
            raise ValueError(
                f"no database URL: {value!r}; write sqlite:////path/factd.sqlite"
            ) from error


class ModelTable(Table):
    """[model] the base model, a local checkpoint"""

    path: Path
    device: str = "cpu"  # "cuda"; "auto": over several devices
    dtype: Literal["float32", "bfloat16"] = (
        "float32"  # of everything but δ, losses, sums and solves
    )
    workers: int = Field(default=0, ge=0)  # processes on Ray that share the work; 0: none
    ray_address: str = ""  # of a running cluster; empty: this machine


class WriteTable(Table):
    """[write] how facts become edits"""

    languages: tuple[str, ...] = ("en",)
    relations: tuple[str, ...] = ()  # that are taken and written; empty: the whole catalogue
    edit_wordings: int = Field(default=2, ge=1)  # of each relation and language
    keep_wordings: int = Field(default=1, ge=0)  # of each other relation of the subject's kind
    keep_relations: int = Field(default=4, ge=0)  # of that kind, at most
    catalogue: tuple[Path, ...] = ()  # folders with relations of your own


class ChecksTable(Table):
    """[checks] what is asked before and after"""

    languages: tuple[str, ...] = ()  # served languages; empty: those that are written
    known_sample: int = Field(default=150, ge=1)  # facts per language that must not change
    neighbours: int = Field(default=1, ge=0)  # per fact and language


class GatesTable(Table):
    """[gates] shares, 0 to 1, that a candidate must reach in every written or served language; 0 switches one off"""

    edit_generation: float = Field(default=0.90, ge=0, le=1)
    paraphrase_generation: float = Field(default=0.70, ge=0, le=1)
    known_kept: float = Field(default=0.95, ge=0, le=1)
    neighbourhood_success: float = Field(default=0.80, ge=0, le=1)
    least_sample: int = Field(default=3, ge=1)  # probes; with fewer a measurement decides nothing


class MethodTable(BaseModel):
    """[method] which one; its settings are in [method.NAME] and checked by the method itself"""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "memit"

    def settings(self) -> Mapping[str, Any]:
        """The table of the chosen method."""
        found: Mapping[str, Any] = (self.model_extra or {}).get(self.name, {})
        return found


class PublishTable(Table):
    """[publish] the local directory"""

    path: Path = Path("published")
    keep: int = Field(default=10, ge=1)  # versions on disk


class SourcesTable(BaseModel):
    """[sources] one table each, [sources.NAME]; a file of daemon/sources checks it. A path alone is a drop folder."""

    model_config = ConfigDict(frozen=True, extra="allow")
    drop_folder: Path | dict[str, Any] = Path("inbox")

    def tables(self) -> dict[str, dict[str, Any]]:
        """The table of every source by its name, with its kind."""
        own = self.drop_folder
        first = own if isinstance(own, dict) else {"path": own}
        found = {"drop_folder": first, **(self.model_extra or {})}
        for name, table in found.items():
            if not isinstance(table, dict):
                raise BadConfig(f"sources.{name} must be a table, [sources.{name}]")
        return {name: {"kind": name, **table} for name, table in found.items()}


class ConflictsTable(Table):
    """[conflicts] which claim holds where sources differ; what an operator pinned always does"""

    rules: tuple[str, ...] = Field(default=RULES, min_length=1)
    corroborated_by: int = Field(default=2, ge=2)  # sources that say the same; more count no more

    @field_validator("rules")
    @classmethod
    def _are_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(RULES) or len(set(value)) < len(value):
            raise ValueError(f"{list(value)}: each once, of {', '.join(RULES)}")
        return value


class PlanningTable(Table):
    """[planning] what goes into a batch, and when"""

    max_facts: int = Field(default=1000, ge=1)  # new ones in a batch
    capacity: int = Field(default=20_000, ge=1)  # in a release; the editor's layers hold no more
    windows: tuple[str, ...] = ()  # "Mon-Fri 02:00-05:00" in UTC; empty: always
    freeze_days: tuple[str, ...] = ()  # "2026-12-24/2027-01-02", both included
    ask_base: bool = True  # what the base model knows already is not written
    insertions: Literal["write", "hold"] = "write"  # subjects that the base model does not know

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Window.parse(text)
        return value

    @field_validator("freeze_days")
    @classmethod
    def _are_days(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Days.parse(text)
        return value


class ScheduleTable(Table):
    """[schedule] seconds between the ticks of a job; UTC"""

    pull_seconds: int = Field(default=60, ge=1)
    cycle_seconds: int = Field(default=3600, ge=1)
    cycle_timeout_seconds: int = Field(default=7200, ge=1)


class HttpTable(Table):
    """[http] /metrics, /livez, /readyz"""

    host: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)


class Config(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    root: Path = Field(default=Path(), exclude=True)  # the file's folder, set when it is read
    state_dir: Path = Path("state")
    model: ModelTable
    store: StoreTable = StoreTable()
    write: WriteTable = WriteTable()
    checks: ChecksTable = ChecksTable()
    gates: GatesTable = GatesTable()
    method: MethodTable = MethodTable()
    publish: PublishTable = PublishTable()
    sources: SourcesTable = SourcesTable()
    conflicts: ConflictsTable = ConflictsTable()
    planning: PlanningTable = PlanningTable()
    schedule: ScheduleTable = ScheduleTable()
    http: HttpTable = HttpTable()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file (which comes as initial values)."""
        return env_settings, init_settings

    @property
    def database(self) -> str:
        """The URL of the store."""
        return self.store.url or f"sqlite:///{self.state_dir / 'factd.sqlite'}"

    @property
    def served(self) -> tuple[str, ...]:
        """Languages that are asked in checks."""
        return self.checks.languages or self.write.languages


def load_config(path: Path) -> Config:
    """The configuration of a file. Raises: BadConfig: one sentence that names the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(
            f"{path} cannot be read ({error.strerror}); make one with `factd init DIR`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is no TOML: {error}") from error
    refuse_unknown_variables(os.environ)
    try:
        config = Config(**data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"{path}: {key}: {first['msg']}") from error
    return rooted(config, path.resolve().parent)


def rooted(config: Config, root: Path) -> Config:
    """The configuration with its relative paths meant from a folder."""
    return config.model_copy(
        update={
            "root": root,
            "state_dir": root / config.state_dir,
            "model": config.model.model_copy(update={"path": root / config.model.path}),
            "publish": config.publish.model_copy(update={"path": root / config.publish.path}),
            "write": config.write.model_copy(
                update={"catalogue": tuple(root / p for p in config.write.catalogue)}
            ),
        }
    )


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raises: BadConfig: a FACTD_ variable that no key has (a typing error would be ignored silently)."""
    for name in environment:
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
            continue
        table, _, key = name.removeprefix(PREFIX).lower().partition("__")
        field = Config.model_fields.get(table)
        kind: Any = field.annotation if field else None
        fixed = isinstance(kind, type) and issubclass(kind, Table)
        known = bool(field) and (not fixed or key in kind.model_fields)
        if not known:
            raise BadConfig(
                f"the environment variable {name} is no setting; see `factd config show`"
            )


def shown(config: Config, path: Path) -> dict[str, dict[str, str]]:
    """Effective values with their origin ("environment", "file", "default"), passwords masked."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    found: dict[str, dict[str, str]] = {}
    for table, value in config.model_dump(mode="json").items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for key, item in rows:
            name = f"{table}.{key}" if key else table
            variable = PREFIX + name.replace(".", "__").upper()
            given = table in data and (not key or key in data[table])
            origin = "environment" if variable in os.environ else "file" if given else "default"
            found[name] = {"value": without_secrets(str(item)), "origin": origin}
    return found


def secret_text(path: Path) -> str:
    """What a secret file holds, without the line's end. Raises: BadConfig: it cannot be read or is empty."""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8"
        raise BadConfig(f"{path} cannot be read ({reason}); it must hold the secret") from error
    if not found:
        raise BadConfig(f"{path} is empty; it must hold the secret")
    return found


def without_secrets(text: str) -> str:
    """A value as it may be shown: no passwords and no queries of URLs."""
    hidden = re.sub(r"(://[^\s:/@]*):[^\s@]*@", r"\1:***@", text)
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]*", r"\1?***", hidden)


def masked(url: str) -> str:
    """A database URL without its password."""
    return make_url(url).render_as_string(hide_password=True) if url else url
