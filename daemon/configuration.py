"""The configuration: one TOML file and the environment, read once into frozen objects.

A variable FACTD_… overrides a key of the file: `FACTD_STORE__URL` is [store] url. Unknown keys
and unknown FACTD_ variables are refused. Relative paths start at the folder of the file.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from factd.daemon.config.run_tables import (
    ApprovalsTable,
    LeaseTable,
    LimitsTable,
    RetentionTable,
    ScheduleTable,
    WorkerTable,
)
from factd.daemon.config.secrets import secret_text, without_secrets
from factd.daemon.config.tables import (
    AuditTable,
    BlameTable,
    ChecksTable,
    ConflictsTable,
    ConsoleTable,
    HttpTable,
    MethodTable,
    ModelTable,
    NotifyTable,
    PlanningTable,
    PublishTable,
    ScreenTable,
    ServersTable,
    SourcesTable,
    StoreTable,
    Table,
    TracingTable,
    WriteTable,
)
from factd.daemon.errors import BadConfig
from factd.daemon.gates.measures import GatesTable

PREFIX = "FACTD_"
DEFAULT = Path("factd.toml")


class Config(BaseSettings):
    """Every table of the configuration."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    root: Path = Field(default=Path(), exclude=True)  # the file's folder, set when it is read
    state_dir: Path = Path("state")
    """Folder for database, candidates, values and statistics."""
    model: ModelTable
    store: StoreTable = StoreTable()
    write: WriteTable = WriteTable()
    checks: ChecksTable = ChecksTable()
    gates: GatesTable = GatesTable()
    blame: BlameTable = BlameTable()
    screen: ScreenTable = ScreenTable()
    audit: AuditTable = AuditTable()
    method: MethodTable = MethodTable()
    publish: PublishTable = PublishTable()
    servers: ServersTable = ServersTable()
    sources: SourcesTable = SourcesTable()
    conflicts: ConflictsTable = ConflictsTable()
    planning: PlanningTable = PlanningTable()
    approvals: ApprovalsTable = ApprovalsTable()
    limits: LimitsTable = LimitsTable()
    schedule: ScheduleTable = ScheduleTable()
    worker: WorkerTable = WorkerTable()
    retention: RetentionTable = RetentionTable()
    lease: LeaseTable = LeaseTable()
    http: HttpTable = HttpTable()
    notify: NotifyTable = NotifyTable()
    tracing: TracingTable = TracingTable()
    console: ConsoleTable = ConsoleTable()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrides the file, whose values come as initial ones."""
        return env_settings, init_settings

    @property
    def database(self) -> str:
        """The URL of the database. Raises: BadConfig: [store] url_file cannot be read."""
        if self.store.url_file:
            return secret_text(self.store.url_file)
        return self.store.url or f"sqlite:///{self.state_dir / 'factd.sqlite'}"

    @property
    def served(self) -> tuple[str, ...]:
        """Languages in which checks ask."""
        return self.checks.languages or self.write.languages


def load_config(path: Path) -> Config:
    """The configuration of a file. Raises: BadConfig: one sentence with the key that is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(
            f"{path} cannot be read ({error.strerror}); write one with `factd init DIR`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}; correct the file") from error
    refuse_unknown_variables(os.environ)
    try:
        config = Config(**data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"{path}: {key}: {first['msg']}") from error
    return _with_absolute_paths(config, path.resolve().parent)


def _with_absolute_paths(config: Config, root: Path) -> Config:
    """The configuration with its relative paths put below a folder."""
    return config.model_copy(
        update={
            "root": root,
            "state_dir": root / config.state_dir,
            "model": config.model.model_copy(update={"path": root / config.model.path}),
            "store": config.store.model_copy(
                update={"url_file": config.store.url_file and root / config.store.url_file}
            ),
            "checks": config.checks.model_copy(
                update={"texts": {k: root / p for k, p in config.checks.texts.items()}}
            ),
            "tracing": config.tracing.model_copy(
                update={
                    "headers_file": root / file if (file := config.tracing.headers_file) else None
                }
            ),
            "publish": config.publish.model_copy(
                update={
                    key: root / path
                    for key in ("path", "signing_key_file", "public_key_file")
                    if (path := getattr(config.publish, key))
                }
            ),
            "write": config.write.model_copy(
                update={"catalogue": tuple(root / p for p in config.write.catalogue)}
            ),
        }
    )


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raises: BadConfig: a FACTD_ variable that is not a setting, such as a typing error."""
    for name in environment:
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
            continue
        table, _, key = name.removeprefix(PREFIX).lower().partition("__")
        field = Config.model_fields.get(table)
        kind: Any = field.annotation if field else None
        has_fixed_keys = isinstance(kind, type) and issubclass(kind, Table)
        is_known = bool(field) and (
            not has_fixed_keys or key.partition("__")[0] in kind.model_fields
        )
        if not is_known:
            raise BadConfig(
                f"the environment variable {name} is not a setting; unset it, or correct its name "
                "with the help of `factd config show`"
            )


def effective_values(config: Config, path: Path) -> dict[str, dict[str, str]]:
    """Key -> value and origin: "environment", "file" or "default". Secrets are masked."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    values: dict[str, dict[str, str]] = {}
    for table, value in config.model_dump(mode="json").items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for key, item in rows:
            name = f"{table}.{key}" if key else table
            variable = PREFIX + name.replace(".", "__").upper()
            given = table in data and (not key or key in data[table])
            origin = "environment" if variable in os.environ else "file" if given else "default"
            values[name] = {"value": without_secrets(str(item)), "origin": origin}
    return values
