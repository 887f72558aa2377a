"""The tables of the configuration file, one class each, with their defaults.

The string below a setting is its meaning in docs/reference/configuration.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from factd.daemon.config.windows import FrozenDays, Window
from factd.daemon.errors import BadConfig
from factd.store.model.resolution import RULES


class Table(BaseModel):
    """A table of the configuration file. It is frozen and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreTable(Table):
    """[store]"""

    url: str = ""
    """URL of the database; empty: SQLite in the state directory."""
    url_file: Path | None = None
    """A file that holds the URL, if it contains a password."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            return value and str(make_url(value).render_as_string(hide_password=False))
        except ArgumentError as error:
            raise ValueError(
                f"{value!r} is not a database URL; write sqlite:////path/factd.sqlite"
            ) from error

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "StoreTable":
        if self.url and self.url_file:
            raise ValueError("give one of url and url_file, not both")
        return self


class ModelTable(Table):
    """[model] the base model, a local checkpoint"""

    path: Path
    """Folder of the base model, as `from_pretrained` reads it."""
    device: str = "cpu"
    """Where it runs: "cpu", "cuda", or "auto": spread over several devices."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of forward and backward passes. δ, losses, sums and solves stay in float32 and
    float64."""
    workers: int = Field(default=0, ge=0)
    """Processes on Ray that share the work; 0: none."""
    ray_address: str = ""
    """Address of a running Ray cluster; empty: this machine."""


class WriteTable(Table):
    """[write] how facts become edits"""

    languages: tuple[str, ...] = ("en",)
    """Languages in which each fact is written."""
    relations: tuple[str, ...] = ()
    """Relations that are accepted and written; empty: the whole catalogue."""
    edit_wordings: int = Field(default=2, ge=1)
    """Wordings that are written for each relation and language."""
    keep_wordings: int = Field(default=1, ge=0)
    """Wordings that must stay for each other relation of the subject's kind."""
    keep_relations: int = Field(default=4, ge=0)
    """How many of those other relations must stay, at most."""
    catalogue: tuple[Path, ...] = ()
    """Folders with relations of your own."""


class ChecksTable(Table):
    """[checks] what is asked before and after an edit"""

    languages: tuple[str, ...] = ()
    """Languages that are served and asked; empty: the written ones."""
    known_sample: int = Field(default=150, ge=1)
    """Facts for each language that must not change and are asked."""
    neighbours: int = Field(default=1, ge=0)
    """Questions about other subjects of the relation, for each fact and language."""
    namesakes: int = Field(default=2, ge=0)
    """Questions about subjects with similar names, for each fact and language."""
    consequences: int = Field(default=1, ge=0)
    """Questions one step further, for each fact, language and direction."""
    earlier_sample: int = Field(default=200, ge=1)
    """Facts of earlier releases that are asked."""
    ranked: int = Field(default=20, ge=0)
    """Questions for which candidates are ranked in each language (RankC)."""
    candidates: int = Field(default=8, ge=2)
    """Candidates for each of those questions."""
    texts: dict[str, Path] = Field(default_factory=dict)
    """Held-out text: a file for each language, one text a line."""
    text_sample: int = Field(default=30, ge=0)
    """Texts for each language; without a file the base model writes them."""
    transfer: bool = False
    """Measure transfer between all languages. The facts are then solved once more for each written
    language."""


class BlameTable(Table):
    """[blame] what happens to a candidate that the gates refuse"""

    solves: int = Field(default=24, ge=0)
    """Solves, at most, to find the facts that make a candidate fail; 0: do not search."""
    most: float = Field(default=0.5, gt=0, le=1)
    """Largest share of a batch's new facts that may be set aside."""


class ScreenTable(Table):
    """[screen] how new facts are screened before anything is written"""

    relation_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of a relation's known pairs that one source may change in a batch."""


class AuditTable(Table):
    """[audit] how the live release is checked again"""

    known_sample: int = Field(default=200, ge=1)
    """Facts for each language; each audit draws others."""
    earlier_sample: int = Field(default=200, ge=1)
    """Facts of the live release that are asked."""
    roll_back: bool = True
    """Go back to the release before if the audit fails."""


class MethodTable(BaseModel):
    """[method] the editing method; each method checks its own settings in [method.NAME]"""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "memit"
    """The editing method, a file of `editor/methods`."""

    def settings(self) -> Mapping[str, Any]:
        """The table of the chosen method."""
        table: Mapping[str, Any] = (self.model_extra or {}).get(self.name, {})
        return table


class NamedTables(BaseModel):
    """A table whose other keys are tables, each for the plugin that its kind names"""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="after")
    def _are_tables(self) -> "NamedTables":
        for name, table in (self.model_extra or {}).items():
            if not isinstance(table, dict):
                raise ValueError(f"{name} is neither a key nor a table; correct its name")
        return self

    def tables(self) -> dict[str, dict[str, Any]]:
        """Name -> table, with its kind; the kind is the name if the table gives none."""
        return {name: {"kind": name, **table} for name, table in (self.model_extra or {}).items()}


class PublishTable(NamedTables):
    """[publish] versions on disk; [publish.checkpoint] is always on, [publish.NAME] adds a form"""

    path: Path = Path("published")
    """Folder of the published versions and of the link `current`."""
    keep: int = Field(default=10, ge=1)
    """Versions that stay on disk."""
    signing_key_file: Path | None = None
    """An Ed25519 key in PEM form; without it versions are not signed."""
    public_key_file: Path | None = None
    """The key that versions must be signed with; default: the public half of the signing key."""

    def tables(self) -> dict[str, dict[str, Any]]:
        """Name -> table of every publisher, with its kind. The checkpoint comes first."""
        return {"checkpoint": {"kind": "checkpoint"}, **super().tables()}


class ServersTable(NamedTables):
    """[servers] how inference servers get releases; each server has a table [servers.NAME]"""

    canary_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the servers that get a release first; 0: all at once."""
    soak_seconds: float = Field(default=600.0, ge=0)
    """Wait between the canaries and the other servers."""
    roll_back: bool = True
    """Take a release back everywhere if a canary does not serve it."""
    attempts: int = Field(default=8, ge=1)
    """Attempts to hand one release to one server."""
    probes: int = Field(default=12, ge=1)
    """Questions that a server is asked after a hand-over."""
    watch_seconds: float = Field(default=60.0, gt=0)
    """Time between looks at what a server serves."""


class SourcesTable(BaseModel):
    """[sources] where facts come from; a table [sources.NAME] for each source"""

    model_config = ConfigDict(frozen=True, extra="allow")
    drop_folder: Path | dict[str, Any] = Path("inbox")
    """The folder for files, or a table [sources.drop_folder]."""

    def tables(self) -> dict[str, dict[str, Any]]:
        """Name -> table of every source, with its kind."""
        own = self.drop_folder
        first = own if isinstance(own, dict) else {"path": own}
        tables = {"drop_folder": first, **(self.model_extra or {})}
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise BadConfig(f"sources.{name} must be a table; write [sources.{name}]")
        return {name: {"kind": name, **table} for name, table in tables.items()}


class ConflictsTable(Table):
    """[conflicts] which claim holds if sources differ; a value that an operator pinned wins"""

    rules: tuple[str, ...] = Field(default=RULES, min_length=1)
    """Rules that decide which claim holds, in their order."""
    corroborated_by: int = Field(default=2, ge=2)
    """Sources with the same claim that count; more do not count."""

    @field_validator("rules")
    @classmethod
    def _are_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(RULES) or len(set(value)) < len(value):
            raise ValueError(f"{list(value)}: write each rule once, of {', '.join(RULES)}")
        return value


class PlanningTable(Table):
    """[planning] what goes into a batch, and when"""

    max_facts: int = Field(default=1000, ge=1)
    """New facts in a batch, at most."""
    capacity: int = Field(default=20_000, ge=1)
    """Facts in a release, at most; the edited layers hold no more."""
    windows: tuple[str, ...] = ()
    """Times in UTC at which batches may start, like "Mon-Fri 02:00-05:00"; empty: always."""
    freeze_days: tuple[str, ...] = ()
    """Days without batches, like "2026-12-24/2027-01-02", both included."""
    ask_base: bool = True
    """Ask the base model first, and do not write what it knows."""
    ask_samples: int = Field(default=2, ge=0)
    """Sampled answers for each wording, besides the greedy one."""
    insertions: Literal["write", "hold"] = "write"
    """Facts about subjects that the base model does not know are written, or held for an
    approval."""

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
            FrozenDays.parse(text)
        return value


class HttpTable(Table):
    """[http] /metrics, /livez, /readyz, /hooks/NAME and the console"""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=9464, ge=0, le=65535)
    """Port of metrics, health, webhooks and console."""
    secure_cookies: bool = False
    """Set to true behind a proxy with TLS."""
    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose X-Forwarded-For header is believed."""


class ConsoleTable(Table):
    """[console] the operator's pages and the JSON API on the port of [http]"""

    enabled: bool = True
    """Serve the console and its API."""
    hosts: tuple[str, ...] = ()
    """Host names that it answers to, besides 127.0.0.1 and localhost."""
    session_minutes: int = Field(default=60, ge=1)
    """A login ends after so long without a request."""
    session_hours: int = Field(default=12, ge=1)
    """A login ends after so long in any case."""
    login_attempts: int = Field(default=10, ge=1)
    """Failed logins of one account in a quarter of an hour."""


NOTICE_KINDS = (  # docs/how-to/operate/notifications.md describes each
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
    """[notify] what is worth a notice; a table [notify.NAME] for each channel that sends notices"""

    failures: int = Field(default=3, ge=1)
    """Failures in a row, of a job, a source or a server, that are worth a notice."""
    budget_share: float = Field(default=0.8, ge=0, le=1)
    """Used share of [planning] capacity that is worth a notice; 0: none."""
    budget_leverage: float = Field(default=0.95, ge=0, le=1)
    """Leverage of a layer that is worth a notice; 0: none."""
    event_days: float = Field(default=3.0, gt=0)
    """A notice about an event closes after so long."""
    attempts: int = Field(default=24, ge=1)
    """Attempts to send one message; the last ones are an hour apart."""


class TracingTable(Table):
    """[tracing] spans over OTLP/HTTP; needs `pip install factd[otel]`"""

    endpoint: str = ""
    """OTLP address, like "http://127.0.0.1:4318/v1/traces"; empty: no spans."""
    service: str = "factd"
    """Name of the service in the spans."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that is kept."""
    timeout_seconds: float = Field(default=5.0, gt=0)
    """Time for one export."""
    headers_file: Path | None = None
    """A file with headers for the collector, "name: value", one a line."""
