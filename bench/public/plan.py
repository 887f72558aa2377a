"""Which rows the bench makes: methods, their settings, and the strengths along their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from factd.daemon.editing.settings import known_settings_of
from factd.daemon.errors import Refused
from factd.editor import plugins
from factd.editor.settings import settings_from

BASE, IN_CONTEXT = "base", "in-context"
PUBLIC = {  # method in its public form -> the method whose settings it has
    "public-memit": "memit",
    "public-alphaedit": "alphaedit",
}
DEFAULT_METHODS = ("memit", "public-memit", "public-alphaedit", "fine_tuning", IN_CONTEXT)
STRENGTHS: Mapping[str, tuple[str, tuple[float, ...]]] = {  # method -> setting, its values
    "memit": ("second_moment_weight", (1000.0, 3000.0, 8000.0, 15000.0)),
    "alphaedit": ("nullspace_threshold", (0.005, 0.01, 0.02, 0.1)),
    "fine_tuning": ("lr", (1e-4, 3e-4, 1e-3)),
}
FINE_TUNING: Mapping[str, Any] = {"epochs": 10}  # of the baseline, unless settings say otherwise
FINE_TUNING_PREFIXES = 2  # templates of each edit that fine-tuning sees, beside the bare prompt


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row to make."""

    method: str  # its name in the table
    kind: str  # a file of editor/methods, or a name of PUBLIC, BASE or IN_CONTEXT
    strength: str = ""  # the setting that the curve varies; "": there is no curve
    value: float | None = None  # of that setting
    settings: Any = None  # of the method; None: it has none


def entries(
    methods: Sequence[str],
    model: Path,
    *,
    given: Mapping[str, Any],
    strengths: Mapping[str, Sequence[float]],
) -> list[Entry]:
    """The rows of all methods, first that of the base model.

    methods: KIND, or NAME=KIND for one kind with several settings. given: settings by "NAME.KEY",
    or by "KEY" for every method that solves for values. strengths: values of a curve, by
    "NAME.KEY".

    Raises: BadSettings: a setting is unknown, missing or out of range. Refused: a setting is for a
    method that is not measured.
    """
    named = dict(_name_and_kind(method) for method in methods)
    for key in (*given, *strengths):
        name, dot, _ = key.partition(".")
        if name not in named and (dot or key in strengths):
            raise Refused(f"{key}: {name} is not measured; add --method {name} or leave it out")
    rows = [Entry(method=BASE, kind=BASE)]
    for name, kind in named.items():
        if kind == IN_CONTEXT:
            rows.append(Entry(method=name, kind=kind))
        else:
            rows += _curve(name, kind, _table(name, kind, model, given), strengths)
    return rows


def _name_and_kind(method: str) -> tuple[str, str]:
    name, equals, kind = method.partition("=")
    return name, kind if equals else name


def settings_class(kind: str) -> Any:
    """The class of the settings of a method. Raises: BadSettings: there is no such method."""
    return plugins.load("factd.editor.methods", PUBLIC.get(kind, kind)).Settings


def _curve(
    name: str, kind: str, table: Mapping[str, Any], strengths: Mapping[str, Sequence[float]]
) -> list[Entry]:
    key, values = _strength(name, kind, strengths)
    points: list[tuple[float | None, dict[str, Any]]]
    points = [(value, {**table, key: float(value)}) for value in values] or [(None, dict(table))]
    return [
        Entry(
            method=name,
            kind=kind,
            strength=key,
            value=value,
            settings=settings_from(settings_class(kind), settings),
        )
        for value, settings in points
    ]


def _strength(
    name: str, kind: str, strengths: Mapping[str, Sequence[float]]
) -> tuple[str, tuple[float, ...]]:
    """The setting that a method's curve varies, and its values; ("", ()) without a curve."""
    for key, values in strengths.items():
        method, _, setting = key.partition(".")
        if method == name:
            return setting, tuple(values)
    return STRENGTHS.get(PUBLIC.get(kind, kind), ("", ()))


def _table(name: str, kind: str, model: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method: those known for the model, common settings, its own settings.

    Known are a kept tuning or a preset. Public methods take its layers, and else the public
    settings; fine-tuning takes the middle one of the layers.
    """
    own = {k.partition(".")[2]: v for k, v in given.items() if k.startswith(f"{name}.")}
    common = {k: v for k, v in given.items() if "." not in k}
    found = known_settings_of(model)
    known = dict(found.table) if found else {}
    layers = common.get("layers", known.get("layers"))
    if kind == "fine_tuning":
        middle = {"layers": [layers[len(layers) // 2]]} if layers else {}
        return {**FINE_TUNING, **middle, **own}
    if kind in PUBLIC:
        known = {"layers": layers} if layers else {}
    fits = {field.name for field in fields(settings_class(kind))}
    return {k: v for k, v in (known | common).items() if k in fits} | own
