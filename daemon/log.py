"""Structured logs on stderr: one line a state change, fixed messages with data fields."""

import logging
import sys

import structlog


def configure(*, as_json: bool = False) -> None:
    """Logs of factd to stderr, as lines for people or (as_json) as JSON."""
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(
            sys.stderr
        ),  # as it is when the line is written
        cache_logger_on_first_use=False,
    )


log = structlog.get_logger("factd")
