"""Whom the console turns away, and why.

Turned (a FactdError)
├── Unknown    nobody is logged in, or the token is no good
├── Forbidden  the role, the form's token or the page that it came from does not allow it
├── TooMany    too many logins failed; says when to try again
└── Mistaken   the request itself is wrong
"""

from factd.daemon.errors import FactdError


class Turned(FactdError):
    """Base; the text is one sentence for who asked."""

    status = 400


class Unknown(Turned):
    """Nobody is logged in."""

    status = 401


class Forbidden(Turned):
    """Not allowed."""

    status = 403


class TooMany(Turned):
    """Too many logins failed."""

    status = 429
    transient = True

    def __init__(self, sentence: str, retry_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_seconds = retry_seconds


class Mistaken(Turned):
    """The request itself is wrong."""

    status = 422
