"""Requests that the console refuses, and why.

ConsoleError (a FactdError)
├── Unauthenticated  nobody is logged in, or the token is not valid
├── Forbidden        the role, the CSRF token, or the page that sent the request does not allow it
├── TooManyLogins    too many logins failed; the error says when to try again
└── BadRequest       the request itself is wrong
"""

from factd.daemon.errors import FactdError


class ConsoleError(FactdError):
    """Base of the console's errors. The text is one sentence for the user who sent the request."""

    status = 400  # HTTP


class Unauthenticated(ConsoleError):
    """Nobody is logged in, or the token is not valid."""

    status = 401


class Forbidden(ConsoleError):
    """The user may not do this, or the request did not come from one of the console's pages."""

    status = 403


class TooManyLogins(ConsoleError):
    """Too many logins failed."""

    status = 429
    transient = True

    def __init__(self, sentence: str, retry_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_seconds = retry_seconds


class BadRequest(ConsoleError):
    """The request itself is wrong."""

    status = 422
