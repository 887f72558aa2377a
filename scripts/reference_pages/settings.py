"""The page of the configuration.

Every table has a section with the type, default and meaning of its settings. The meaning of a
setting is its `description`, or else the string below it in the code, or else the comment behind
it.
"""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from reference_pages.live import CONFIG, KINDS, MEASURES, METHODS, THRESHOLD, load, plugins
from reference_pages.markdown import cell, code, page, table

INTRODUCTION = [
    "factd reads one TOML file, `factd.toml` unless `--config` or `FACTD_CONFIG` names another",
    "one. `factd init DIR` writes one to start from, `factd config check` looks at it, and",
    "`factd config show` prints every effective value with its origin.",
    "",
    "- An environment variable overrides the file: `FACTD_STORE__URL` is `url` in `[store]`.",
    "- An unknown key or an unknown `FACTD_…` variable is an error, so a typing error cannot go",
    "  unnoticed.",
    "- A relative path starts at the folder of the file.",
    "- A secret is never a value. The keys `…_file` name files that hold secrets.",
    "",
]
LANGUAGE_SETS = {"write": "written languages", "served": "served languages"}
AGAINST = {
    "value": "",
    "base": ", compared with the base model",
    "live": ", compared with the live release",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key of a table."""

    name: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table of the file."""

    title: str
    text: str
    settings: tuple[Setting, ...]


def meanings(cls: type[Any]) -> dict[str, str]:
    """Field -> what the source says about it, of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == "factd":
            found |= said_in(textwrap.dedent(inspect.getsource(base)))
    return found


def said_in(source: str) -> dict[str, str]:
    """Field -> the text below it or the comment behind it, of the source of one class."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)).body
    found = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        behind = " ".join(comments[n] for n in lines if n in comments)
        found[node.target.id] = text_below(below) or behind
    return {name: text for name, text in found.items() if text}


def text_below(node: ast.stmt | None) -> str:
    """The string that stands alone in a statement; empty where it is anything else."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def type_name(kind: Any) -> str:
    """A type as the reader of a TOML file knows it."""
    arguments = [a for a in get_args(kind) if a is not NoneType and a is not Ellipsis]
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(f'"{a}"' for a in arguments)
    if origin is tuple or origin is list:
        return f"list of {type_name(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {type_name(arguments[1])}"
    if arguments and origin is not None and not isinstance(origin, type):
        return " or ".join(type_name(a) for a in arguments)
    if len(arguments) > 0 and str(origin) == "<class 'types.UnionType'>":
        return " or ".join(type_name(a) for a in arguments)
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    name = getattr(kind, "__name__", str(kind))
    return {**words, "Path": "path", "Threshold": "gate", "Any": "any"}.get(name, name)


def bounds(metadata: list[Any]) -> str:
    """The range that a setting allows."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(item, name):g}"
        for item in metadata
        for name, sign in signs.items()
        if getattr(item, name, None) is not None
    ]
    return f" {' and '.join(found)}" if found else ""


def toml(value: Any) -> str:
    """A default as TOML; nothing where there is no value."""
    if value is None or value is PydanticUndefined or value is dataclasses.MISSING:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | PurePath):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return f"{value}"


def gate_toml(name: str, value: Any) -> str:
    """A gate's default as TOML."""
    if value.bound is None:
        return "false"
    measure = load(MEASURES)[name]
    is_floor = measure.more_is_better and measure.against == "value"
    given = {k: getattr(value, k) for k in ("surely", "doubt", "sample")}
    plain = load(THRESHOLD)()
    changed = {k: v for k, v in given.items() if v != getattr(plain, k)}
    if not changed:
        return toml(value.bound)
    return toml({"least" if is_floor else "most": value.bound, **changed})


def gate_meaning(name: str) -> str:
    """What a gate is about, from its measure."""
    measure = load(MEASURES)[name]
    where = LANGUAGE_SETS.get(measure.where, "languages that were measured")
    facts = {"new": ", new facts", "earlier": ", facts of earlier releases"}.get(measure.of, "")
    compared = AGAINST[measure.against]
    return f"`{measure.metric}` of the check `{measure.check}`{facts}, in all {where}{compared}."


def settings_of(cls: type[Any]) -> tuple[Setting, ...]:
    """The keys of a table, but not the tables within it."""
    return tuple(_of_model(cls) if issubclass(cls, BaseModel) else _of_dataclass(cls))


def _of_model(cls: type[BaseModel]) -> Iterator[Setting]:
    said = meanings(cls)
    measures = load(MEASURES)
    for name, field in cls.model_fields.items():
        if field.exclude or is_table(field.annotation):
            continue
        default = field.get_default(call_default_factory=True)
        is_gate = isinstance(default, load(THRESHOLD))
        about = gate_meaning(name) if is_gate and name in measures else ""
        yield Setting(
            name=name,
            type=type_name(field.annotation) + bounds(field.metadata),
            default="required"
            if field.is_required()
            else gate_toml(name, default)
            if is_gate
            else toml(default),
            meaning=" ".join(filter(None, (about, field.description or said.get(name, "")))),
        )


def _of_dataclass(cls: type[Any]) -> Iterator[Setting]:
    said, hints = meanings(cls), get_type_hints(cls)
    for field in dataclasses.fields(cls):
        factory = field.default_factory
        default = factory() if factory is not dataclasses.MISSING else field.default
        yield Setting(
            name=field.name,
            type="table" if "Mapping" in str(hints[field.name]) else type_name(hints[field.name]),
            default="required" if default is dataclasses.MISSING else toml(default),
            meaning=said.get(field.name, ""),
        )


def is_table(kind: Any) -> bool:
    """A key that is a table with a section of its own. Gates are written in one line."""
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not load(THRESHOLD)


def text_of(cls: type[Any]) -> str:
    """The docstring of a table without its name in front."""
    doc = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
    return doc.partition("]")[2].strip() if doc.startswith("[") else doc


def sections() -> Iterator[Section]:
    """Every table of the configuration, in the order of the file."""
    config = load(CONFIG)
    yield Section(title="Top level", text="", settings=settings_of(config))
    for name, field in config.model_fields.items():
        if not is_table(field.annotation):
            continue
        yield from _table_sections(name, field.annotation)
        for kind, cls in plugins(KINDS[name]).items() if name in KINDS else ():
            yield Section(
                title=f'[{name}.NAME] kind = "{kind}"', text=text_of(cls), settings=settings_of(cls)
            )
        for kind, cls in plugins(METHODS).items() if name == "method" else ():
            yield Section(title=f"[method.{kind}]", text=text_of(cls), settings=settings_of(cls))


def _table_sections(name: str, cls: type[BaseModel]) -> Iterator[Section]:
    yield Section(title=f"[{name}]", text=text_of(cls), settings=settings_of(cls))
    for key, field in cls.model_fields.items():
        if is_table(field.annotation):
            yield from _table_sections(f"{name}.{key}", field.annotation)  # type: ignore[arg-type]
    if name == "gates":
        threshold = load(THRESHOLD)
        yield Section(
            title="A gate",
            text="A number alone, `false` (off), or a table: "
            "`least` or `most` instead of `bound`, and the keys below.",
            settings=settings_of(threshold),
        )


def lines(section: Section) -> Iterator[str]:
    """The lines of one table."""
    yield from (f"## {section.title}", "")
    if section.text:
        text = section.text[0].upper() + section.text[1:]
        yield from (text if text.endswith(".") else f"{text}.", "")
    rows = (
        (
            code(s.name),
            cell(s.type),
            s.default if s.default == "required" else code(s.default),
            cell(s.meaning),
        )
        for s in section.settings
    )
    yield from table(("setting", "type", "default", "meaning"), rows)


def settings_page() -> str:
    """The whole page."""
    return page("Configuration", INTRODUCTION, *(list(lines(s)) for s in sections()))
