"""What every request starts with: who sends it, by token or cookie, and whether they may do it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import BackgroundTasks, Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from factd.daemon.app import App
from factd.daemon.web.auth.accounts import Authenticator, Caller
from factd.daemon.web.errors import BadRequest, Forbidden, Unauthenticated
from factd.daemon.web.middleware import other_site

PLAIN, SECURE = "factd", "__Host-factd"  # names of the session cookie
MOST_FIELDS = 20  # of a form
CSRF_HEADER = "X-CSRF-Token"
BEARER = HTTPBearer(auto_error=False, description="A token made by `factd tokens add`.")
COOKIE = APIKeyCookie(
    name=PLAIN,
    auto_error=False,
    description=f"Set by `POST /api/v1/session` ({SECURE} behind TLS). "
    f"Calls that change something also send the session's CSRF token as {CSRF_HEADER}.",
)


@dataclass(frozen=True, kw_only=True)
class ConsoleContext:
    """The application and its authenticator, for every request."""

    app: App
    authenticator: Authenticator

    @property
    def cookie(self) -> str:
        """The name of the session cookie."""
        return SECURE if self.app.config.http.secure_cookies else PLAIN


def context_of(request: Request) -> ConsoleContext:
    """The context of the console that got the request."""
    context: ConsoleContext = request.app.state.context
    return context


async def _context(request: Request) -> ConsoleContext:
    """The same as a coroutine: FastAPI would run a plain function in a thread."""
    return context_of(request)


def _caller(request: Request, later: BackgroundTasks) -> Caller:
    """The user or program that sends the request, by token or cookie. Raises: Unauthenticated."""
    context = context_of(request)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind:
        bearer = kind.lower() == "bearer"
        caller = context.authenticator.of_token(token.strip()) if bearer else None
        sentence = "this token is not valid; `factd tokens list` shows the valid ones"
    else:
        caller = context.authenticator.of_cookie(request.cookies.get(context.cookie, ""))
        sentence = "log in first, or send a token as Authorization: Bearer …"
    if caller is None:
        raise Unauthenticated(sentence)
    if caller.note_seen is not None:
        later.add_task(caller.note_seen)
    return caller


Context = Annotated[ConsoleContext, Depends(_context)]
Viewer = Annotated[Caller, Depends(_caller)]


def refuse_other_sites(request: Request) -> None:
    """Raises: Forbidden: a page of another site sent the request."""
    problem = other_site(request.headers)
    if problem:
        raise Forbidden(problem)


def refuse_wrong_csrf(caller: Caller, token: str) -> None:
    """Raises: Forbidden: the CSRF token is not the one of this session."""
    if not secrets.compare_digest(caller.csrf.encode(), token.encode()):
        raise Forbidden("this form belongs to another session (CSRF); load the page again")


async def _operator(request: Request, caller: Viewer) -> Caller:
    """A caller who may change something through the API. Raises: Forbidden."""
    if caller.csrf:
        refuse_other_sites(request)
        refuse_wrong_csrf(caller, request.headers.get(CSRF_HEADER, ""))
    caller.may_operate()
    return caller


ApiOperator = Annotated[Caller, Depends(_operator)]


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, which must come from a page of the console.

    Raises: BadRequest, Forbidden.
    """
    refuse_other_sites(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest("send a form (application/x-www-form-urlencoded)")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise BadRequest(f"the form cannot be read: {error}") from error


Form = Annotated[Mapping[str, str], Depends(_form)]


async def _operator_by_form(caller: Viewer, form: Form) -> Caller:
    """A caller who may change something through a page. Raises: Forbidden."""
    if not caller.csrf:
        raise Forbidden("pages need a login; programs send their token to /api/v1")
    refuse_wrong_csrf(caller, form.get("csrf", ""))
    caller.may_operate()
    return caller


FormOperator = Annotated[Caller, Depends(_operator_by_form)]
