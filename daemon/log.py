"""Structured logs on stderr: one line for each state change, fixed messages with data fields, no
secrets.

`bound` adds ids to all lines of a block: run, job, candidate, batch, release, trace_id. Lines of
other libraries have the same form, so that a program can read every line.
"""

import logging
import re
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

import structlog

from factd.daemon.config.secrets import without_secrets

P = ParamSpec("P")
T = TypeVar("T")
SECRET_NAME = re.compile(r"(?i)(?:^|[_-])(?:password|secret|token|authorization|cookie)$")
BATCH_DIGITS = 12  # the digits of a batch's id that lines carry


def configure(*, as_json: bool = False) -> None:
    """Write logs to stderr, as text lines or (as_json) as JSON lines."""
    last: list[Any] = (
        [
            _with_host,
            structlog.processors.format_exc_info,
            masked,
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [masked, structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # looked up for each line: tests and the terminal may replace sys.stderr
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _forward_other_libraries()


log = structlog.get_logger("factd")


def bound(**ids: Any) -> AbstractContextManager[None]:
    """Lines in this block carry the ids: run, job, candidate, release, the first digits of a batch.

    Ids that are None are left out.
    """
    given = {name: value for name, value in ids.items() if value is not None}
    if "batch" in given:
        given["batch"] = str(given["batch"])[:BATCH_DIGITS]
    return structlog.contextvars.bound_contextvars(**given)


def bound_ids() -> dict[str, Any]:
    """The ids that lines carry here, to pass them on to another process."""
    return dict(structlog.contextvars.get_contextvars())


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, which logs with the ids bound now even if another thread runs it."""
    context = copy_context()

    def run(*arguments: P.args, **more: P.kwargs) -> T:
        return context.copy().run(function, *arguments, **more)

    return run


def masked(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the event without secrets."""
    return without_secret_fields(event)


def without_secret_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the data without secrets.

    Masked are passwords and queries of URLs, tokens, and the fields whose name says that they are
    secret (password, secret, token, authorization, cookie).
    """
    return {str(name): _masked(str(name), value) for name, value in data.items()}


def _masked(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name):
        return "***"
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return without_secret_fields(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_secrets(str(value))


def _with_host(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {"host": socket.gethostname(), **event}


class _Forwarded(logging.Handler):
    """Writes the log records of other libraries as lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        error = repr(record.exc_info[1]) if record.exc_info else None
        more = {"error": error} if error else {}
        text = record.getMessage()
        log.log(
            max(record.levelno, logging.INFO),
            "library says",
            library=record.name,
            text=text,
            **more,
        )


def _forward_other_libraries() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Forwarded) for handler in root.handlers):
        root.addHandler(_Forwarded(level=logging.WARNING))
