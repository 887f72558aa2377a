"""The page of the command line: a section for every command with its arguments and options."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from reference_pages.live import command_line
from reference_pages.markdown import cell, code, page, table

INTRODUCTION = [
    "Every command has `--help`. Where `--json` exists, it prints exactly one JSON document on",
    "stdout; logs and progress go to stderr. Exit code 0 means done, 1 refused or failed (one",
    "sentence on stderr says what to do), 2 a wrong command line.",
    "",
    "`--config` stands before the command (`factd --config /etc/factd/factd.toml status`). The",
    "variable `FACTD_CONFIG` does the same.",
    "",
]


def commands(command: Any = None, path: str = "factd") -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden with its full name, groups before their commands."""
    command = command or command_line()
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not getattr(child, "hidden", False):
            yield from commands(child, f"{path} {name}")


def spelling(parameter: Any) -> str:
    """How a parameter is written: `--to`, `--known / --no-known`, `FILE`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    on, off = ", ".join(parameter.opts), ", ".join(parameter.secondary_opts)
    return f"{on} / {off}" if off else on


def kind(parameter: Any) -> str:
    """What a parameter takes: flag, text, number, path, one of some words."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    annotation = parameter.type_descriptor.annotation
    inner = next((a for a in get_args(annotation) if isinstance(a, type)), annotation)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return " or ".join(str(item.value) for item in inner)
    words = {"str": "text", "int": "whole number", "float": "number", "Path": "path"}
    name = words.get(getattr(inner, "__name__", ""), getattr(inner, "__name__", str(inner)))
    return f"{name}, repeatable" if parameter.multiple or parameter.nargs == -1 else name


def default(parameter: Any) -> str:
    """The value where none is given; "required" where one must be given."""
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == "" or callable(value):
        return "–"
    return code(str(value.value if isinstance(value, Enum) else value))


def usage(path: str, command: Any) -> str:
    """The command as it is typed."""
    if getattr(command, "commands", None):
        return f"{path} COMMAND …"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [spelling(p) if p.required else f"[{spelling(p)}]" for p in arguments]
    options = any(p.param_type_name == "option" for p in command.params)
    return " ".join([path, *words, *(["[OPTIONS]"] if options else [])])


def section(path: str, command: Any) -> Iterator[str]:
    """The lines of one command."""
    yield from (f"{'#' * min(path.count(' ') + 2, 4)} {path}", "")
    yield from (*(command.help or "").strip().splitlines(), "", "```text", usage(path, command))
    yield from ("```", "")
    children = getattr(command, "commands", {})
    rows = ((code(f"{path} {n}"), cell(first_line(c))) for n, c in sorted(children.items()))
    yield from table(("command", "what it does"), rows)
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    own = [(code(spelling(p)), cell(kind(p)), default(p), described(p)) for p in shown]
    yield from table(("argument or option", "takes", "default", "meaning"), own)


def described(parameter: Any) -> str:
    """What a parameter means, with its environment variable."""
    variable = f" Environment: `{parameter.envvar}`." if getattr(parameter, "envvar", None) else ""
    return cell((getattr(parameter, "help", None) or "") + variable)


def first_line(command: Any) -> str:
    """The first paragraph of a command's help."""
    return str(command.help or "").strip().split("\n\n")[0]


def commands_page() -> str:
    """The whole page."""
    sections = [list(section(path, command)) for path, command in commands()]
    return page("Command line", INTRODUCTION, *sections)
