"""Frozen settings objects made from a table of a configuration file, and checked."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from factd.editor.errors import BadSettings

S = TypeVar("S")


def settings_from(cls: type[S], table: Mapping[str, Any]) -> S:
    """An instance of a frozen settings dataclass from a mapping; lists become tuples.

    Raises: BadSettings: a key is unknown or missing, a type is wrong, or the class refuses a value.
    """
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # cls is a dataclass
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise BadSettings(f"unknown setting {unknown[0]!r}; known: {', '.join(known)}")
    values = {key: converted(key, value, hints[key]) for key, value in table.items()}
    for field in fields(cls):  # type: ignore[arg-type]
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in table and not has_default:
            raise BadSettings(f"{cls.__module__}: the setting {field.name!r} is missing; add it")
    return cls(**values)


def required_settings(cls: type) -> frozenset[str]:
    """The names of the settings of a dataclass that have no default."""
    return frozenset(
        field.name
        for field in fields(cls)
        if field.default is MISSING and field.default_factory is MISSING
    )


def converted(key: str, value: Any, kind: Any) -> Any:
    """A value as the type that a settings field asks for: lists as tuples, whole numbers as floats.

    key: the field's name, for the error. Raises: BadSettings: the value has another type.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _one_of(key, value, get_args(kind))
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(converted(key, item, get_args(kind)[0]) for item in value)
    if origin is not None and isinstance(value, Mapping) and issubclass(origin, Mapping):
        return {name: converted(key, item, get_args(kind)[1]) for name, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(kind, type)
        and isinstance(value, kind)
        and (kind is bool) == (value is True or value is False)
    ):
        return value
    raise BadSettings(f"setting {key!r} must be {getattr(kind, '__name__', kind)}, not {value!r}")


def _one_of(key: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and NoneType in kinds:
        return None
    return converted(key, value, next(kind for kind in kinds if kind is not NoneType))
