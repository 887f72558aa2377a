"""What every page and every call of the API starts with: who asks, and whether they may."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import BackgroundTasks, Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from factd.daemon.app import App
from factd.daemon.web.auth.accounts import Caller, Door
from factd.daemon.web.errors import Forbidden, Mistaken, Unknown
from factd.daemon.web.middleware import from_elsewhere

PLAIN, SECURE = "factd", "__Host-factd"  # names of the cookie
FIELDS = 20
CSRF_HEADER = "X-CSRF-Token"
BEARER = HTTPBearer(auto_error=False, description="A token of `factd tokens add`.")
COOKIE = APIKeyCookie(
    name=PLAIN,
    auto_error=False,
    description=f"Of `POST /api/v1/session` ({SECURE} behind TLS); unsafe calls also bring its token as {CSRF_HEADER}.",
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the console works with."""

    app: App
    door: Door

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return SECURE if self.app.config.http.secure_cookies else PLAIN


def desk_of(request: Request) -> Desk:
    """The desk of the app that is asked."""
    found: Desk = request.app.state.desk
    return found


async def _asked(request: Request) -> Desk:
    """The same without a thread, which FastAPI would take for it."""
    return desk_of(request)


def _caller(request: Request, later: BackgroundTasks) -> Caller:
    """Who asks, by token or cookie. Raises: Unknown."""
    desk = desk_of(request)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind:
        found = desk.door.of_token(token.strip()) if kind.lower() == "bearer" else None
        sentence = "this token is no good; `factd tokens list` shows which are"
    else:
        found = desk.door.of_cookie(request.cookies.get(desk.cookie, ""))
        sentence = "log in first, or send a token as Authorization: Bearer …"
    if found is None:
        raise Unknown(sentence)
    if found.stale is not None:
        later.add_task(found.stale)
    return found


Asking = Annotated[Desk, Depends(_asked)]
Looking = Annotated[Caller, Depends(_caller)]


def from_here(request: Request) -> None:
    """Raises: Forbidden: a page of another site sent this."""
    elsewhere = from_elsewhere(request.headers)
    if elsewhere:
        raise Forbidden(elsewhere)


def same_token(caller: Caller, token: str) -> None:
    """Raises: Forbidden: the form is not one that this session was given."""
    if not secrets.compare_digest(caller.csrf.encode(), token.encode()):
        raise Forbidden("this form is not of your session (CSRF); load the page again")


async def _operator(request: Request, caller: Looking) -> Caller:
    """Who may change something through the API. Raises: Forbidden."""
    if caller.csrf:
        from_here(request)
        same_token(caller, request.headers.get(CSRF_HEADER, ""))
    caller.may_operate()
    return caller


Operating = Annotated[Caller, Depends(_operator)]


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, which must come from a page of ours. Raises: Mistaken, Forbidden."""
    from_here(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Mistaken("a form is needed (application/x-www-form-urlencoded)")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError as error:
        raise Mistaken(f"the form cannot be read: {error}") from error


Form = Annotated[Mapping[str, str], Depends(_form)]


async def _operator_by_form(caller: Looking, form: Form) -> Caller:
    """Who may change something through a page. Raises: Forbidden."""
    if not caller.csrf:
        raise Forbidden("pages are for sessions; programs use /api/v1")
    same_token(caller, form.get("csrf", ""))
    caller.may_operate()
    return caller


OperatingByForm = Annotated[Caller, Depends(_operator_by_form)]
