"""Settings that a search found for a model, kept on disk by the model's fingerprint and the method.

One TOML file for each: FOLDER/<fingerprint>/<method>.toml, with a [tuning] table that says where
the settings come from, and a [method.NAME] table. A person may read, copy or delete it. A file that
cannot be used is set aside under another name, with a sentence; it is never an error.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from factd.editor.errors import BadSettings
from factd.editor.files.folders import write_file

SEARCHED = "memit"  # the search measures this method; others take its settings if they can


@dataclass(frozen=True, kw_only=True)
class KeptTuning:
    """Settings of a method for one model, and where they come from."""

    fingerprint: str  # of the model
    method: str
    source: str  # a clause: "factd tune, 16 edits in en, 2026-11-27"
    settings: Mapping[str, Any]  # the [method.NAME] table

    def as_toml(self) -> str:
        """The text of the file."""
        about = {"fingerprint": self.fingerprint, "method": self.method, "source": self.source}
        lines = ["[tuning]", *(f"{key} = {toml_value(value)}" for key, value in about.items())]
        return "\n".join([*lines, "", settings_toml(self.settings, self.method)])


@dataclass(frozen=True)
class KeptTunings:
    """The folder of kept tunings."""

    folder: Path

    def path(self, fingerprint: str, method: str) -> Path:
        """The file for a model and a method, whether it exists or not."""
        return self.folder / fingerprint / f"{method}.toml"

    def save(self, tuning: KeptTuning) -> Path:
        """Write a tuning; the file appears whole. Returns its path."""
        path = self.path(tuning.fingerprint, tuning.method)
        write_file(path, tuning.as_toml().encode())
        return path

    def read(self, fingerprint: str, method: str) -> KeptTuning | None:
        """The kept tuning of a model and a method; None if there is none.

        Raises: ValueError, KeyError, OSError: the file is damaged.
        """
        path = self.path(fingerprint, method)
        if not path.exists():
            return None
        found = _read(path)
        if (found.fingerprint, found.method) != (fingerprint, method):
            raise ValueError("it is of another model or method")
        return found

    def load(
        self,
        fingerprint: str,
        method: str,
        *,
        check: Callable[[Mapping[str, Any]], object],
        note: Callable[[str], None],
    ) -> KeptTuning | None:
        """As `read`; a file that is damaged or of no use is set aside, and None is returned.

        check: raises an error if the method does not take the settings. note: is told the sentence
        about a file that was set aside.
        """
        try:
            found = self.read(fingerprint, method)
            if found is not None:
                check(found.settings)
        except (ValueError, KeyError, OSError, TypeError, BadSettings) as error:
            note(_set_aside(self.path(fingerprint, method), str(error)))
            return None
        return found


def _read(path: Path) -> KeptTuning:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    about, tables = data.get("tuning"), data.get("method")
    if not isinstance(about, dict) or not isinstance(tables, dict):
        raise ValueError("it has no table [tuning] or [method]")
    settings = tables[about["method"]]
    if not isinstance(settings, dict):
        raise ValueError("it has no table of settings")
    return KeptTuning(
        fingerprint=str(about["fingerprint"]),
        method=str(about["method"]),
        source=str(about["source"]),
        settings=settings,
    )


def _set_aside(path: Path, reason: str) -> str:
    """Rename a damaged file, and return the sentence about it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    return f"{path} cannot be used ({reason}); it was set aside as {aside.name}"


def settings_toml(settings: Mapping[str, Any], method: str) -> str:
    """A [method] table with the name, and the [method.NAME] table, as TOML."""
    plain = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    tables = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    lines = ["[method]", f'name = "{method}"', "", f"[method.{method}]"]
    lines += [f"{key} = {toml_value(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[method.{method}.{name}]"]
        lines += [f"{toml_key(k)} = {toml_value(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A number, string, boolean or list as TOML. For these, JSON is the same."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def toml_key(key: str) -> str:
    """A key as TOML: bare if it may be, else quoted."""
    is_bare = key.replace("-", "").replace("_", "").isalnum() and key.isascii()
    return key if is_bare else json.dumps(key, ensure_ascii=False)


def stamped(clause: str, at: datetime) -> str:
    """A clause about a source with the day, "…, 2026-11-27"."""
    return f"{clause}, {at:%Y-%m-%d}"
