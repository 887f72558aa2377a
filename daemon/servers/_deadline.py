"""Time limits for libraries that wait for ever if a server does, and the text of their errors."""

import threading
from collections.abc import Callable
from typing import TypeVar

from factd.daemon.errors import HandoverFailed

T = TypeVar("T")


def bounded(call: Callable[[], T], *, seconds: float, what: str) -> T:
    """What a call returns or raises within some seconds.

    A call that takes longer is not stopped, so it may still have its effect later.
    Raises: HandoverFailed: it took too long.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name=what)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise HandoverFailed(f"{what} did not answer within {seconds:g} s")
    return returned[0]


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class name if it has no text."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
