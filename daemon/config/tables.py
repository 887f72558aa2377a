"""The tables of the configuration file, one class each: what may be set, and what it is where nothing is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from factd.daemon.config.windows import Days, Window
from factd.daemon.errors import BadConfig
from factd.store.model.resolution import RULES


class Table(BaseModel):
    """A table of the file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreTable(Table):
    """[store]"""

    url: str = ""  # empty: SQLite in the state directory
    url_file: Path | None = None  # holds the URL, where it has a password

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            return value and str(make_url(value).render_as_string(hide_password=False))
        except ArgumentError as error:
            raise ValueError(
                f"no database URL: {value!r}; write sqlite:////path/factd.sqlite"
            ) from error

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "StoreTable":
        if self.url and self.url_file:
            raise ValueError("give one of url and url_file")
        return self


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
    namesakes: int = Field(default=2, ge=0)  # per fact and language
    consequences: int = Field(default=1, ge=0)  # per fact, language and direction
    earlier_sample: int = Field(default=200, ge=1)  # facts that earlier releases wrote
    ranked: int = Field(default=20, ge=0)  # questions whose candidates are ranked
    candidates: int = Field(default=8, ge=2)  # of each of them
    texts: dict[str, Path] = Field(default_factory=dict)  # held-out text by language, a text a line
    text_sample: int = Field(
        default=30, ge=0
    )  # per language; without a file the base model writes them
    transfer: bool = False  # the whole matrix: facts solved once more per written language


class BlameTable(Table):
    """[blame] what happens to a candidate that the gates refuse"""

    solves: int = Field(
        default=24, ge=0
    )  # at most, to find the facts that cause it; 0: none are looked for
    most: float = Field(
        default=0.5, gt=0, le=1
    )  # share of a batch's new facts that may be set aside


class ScreenTable(Table):
    """[screen] what is looked at before anything is written"""

    relation_share: float = Field(
        default=0.5, gt=0, le=1
    )  # of a relation's known pairs that a batch may change


class AuditTable(Table):
    """[audit] the live release, looked at again"""

    known_sample: int = Field(default=200, ge=1)  # facts per language, others each time
    earlier_sample: int = Field(default=200, ge=1)  # facts of the release
    roll_back: bool = True  # to the release before, where the audit fails


class MethodTable(BaseModel):
    """[method] which one; its settings are in [method.NAME] and checked by the method itself"""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "memit"

    def settings(self) -> Mapping[str, Any]:
        """The table of the chosen method."""
        found: Mapping[str, Any] = (self.model_extra or {}).get(self.name, {})
        return found


class NamedTables(BaseModel):
    """A table whose other keys are tables, each with a file of a package that its kind names"""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="after")
    def _are_tables(self) -> "NamedTables":
        for name, table in (self.model_extra or {}).items():
            if not isinstance(table, dict):
                raise ValueError(f"{name} is no key, and no table of that name")
        return self

    def tables(self) -> dict[str, dict[str, Any]]:
        """Every table by its name, with its kind."""
        return {name: {"kind": name, **table} for name, table in (self.model_extra or {}).items()}


class PublishTable(NamedTables):
    """[publish] versions on disk: [publish.checkpoint] always, [publish.NAME] says what else, checked by daemon/publishers"""

    path: Path = Path("published")
    keep: int = Field(default=10, ge=1)  # versions on disk
    signing_key_file: Path | None = (
        None  # an Ed25519 key in PEM form; without it versions are unsigned
    )
    public_key_file: Path | None = (
        None  # that versions must be signed with; without it the signing key's own
    )

    def tables(self) -> dict[str, dict[str, Any]]:
        """The table of every publisher by its name, with its kind; the checkpoint comes first."""
        return {"checkpoint": {"kind": "checkpoint"}, **super().tables()}


class ServersTable(NamedTables):
    """[servers] one table each, [servers.NAME], for whom a release is handed to, checked by daemon/servers"""

    canary_share: float = Field(default=0.0, ge=0, le=1)  # of the servers that get it first; 0: all
    soak_seconds: float = Field(default=600.0, ge=0)  # between the first ones and the rest
    roll_back: bool = True  # for all, where a first one does not serve a release
    attempts: int = Field(default=8, ge=1)  # to hand one release to one server
    probes: int = Field(default=12, ge=1)  # questions that a server is asked after a hand-over
    watch_seconds: float = Field(default=60.0, gt=0)  # between looks at what a server serves


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
    ask_samples: int = Field(default=2, ge=0)  # drawn answers per wording, beside the greedy one
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


class HttpTable(Table):
    """[http] /metrics, /livez, /readyz, /hooks/NAME and the console"""

    host: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)
    secure_cookies: bool = False  # true behind a proxy that speaks TLS
    proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For is believed


class ConsoleTable(Table):
    """[console] the operator's pages and the JSON API on the port of [http]"""

    enabled: bool = True
    hosts: tuple[str, ...] = ()  # names it is reached by; 127.0.0.1 and localhost always are
    session_minutes: int = Field(default=60, ge=1)  # without a request, until a login ends
    session_hours: int = Field(default=12, ge=1)  # until it ends whatever happens
    login_attempts: int = Field(default=10, ge=1)  # failed ones in a quarter of an hour, an account


KINDS = (  # of notices, docs/how-to/operate/notifications.md
    "rejected",
    "set_aside",
    "rolled_back",
    "frozen",
    "source_frozen",
    "source_failing",
    "audit_failed",
    "approval",
    "worker_died",
    "budget_low",
    "baked",
    "limit",
    "job_failing",
    "handover_failed",
    "published",
)


class NotifyTable(NamedTables):
    """[notify] what is worth a notice; one table each, [notify.NAME], for where it is told, checked by daemon/channels"""

    failures: int = Field(default=3, ge=1)  # in a row, of a job or a source
    budget_share: float = Field(default=0.8, ge=0, le=1)  # of [planning] capacity; 0: not told
    budget_leverage: float = Field(default=0.95, ge=0, le=1)  # of any layer; 0: not told
    event_days: float = Field(default=3.0, gt=0)  # until what happened is of no interest any more
    attempts: int = Field(default=24, ge=1)  # to send one message; the last ones an hour apart


class TracingTable(Table):
    """[tracing] spans over OTLP/HTTP; needs `pip install factd[otel]`"""

    endpoint: str = ""  # "http://127.0.0.1:4318/v1/traces"; empty: no spans
    service: str = "factd"
    share: float = Field(default=1.0, ge=0, le=1)  # of the traces that are kept
    timeout_seconds: float = Field(default=5.0, gt=0)  # of one export
    headers_file: Path | None = None  # "name: value", one a line, as the collector wants them
