"""The console as an ASGI application: pages, API, static files, and errors as answers."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from factd.daemon.app import App
from factd.daemon.errors import FactdError
from factd.daemon.log import log
from factd.daemon.web.api import api
from factd.daemon.web.auth.accounts import Authenticator
from factd.daemon.web.dependencies import ConsoleContext
from factd.daemon.web.errors import ConsoleError
from factd.daemon.web.middleware import GuardMiddleware
from factd.daemon.web.pages import pages
from factd.daemon.web.responses import refusal
from factd.store.errors import (
    BakedIntoBase,
    IllegalMove,
    NotFound,
    StaleState,
    StoreError,
    Unstorable,
)

STATIC = Path(__file__).parent / "static"
ANY_HOST = ("0.0.0.0", "::", "")


def console(app: App) -> ASGIApp:
    """The console behind the middleware that every request passes."""
    http, table = app.config.http, app.config.console
    named = () if http.host in ANY_HOST else (http.host,)
    hosts = (*table.hosts, *named)
    return GuardMiddleware(application(app), hosts=hosts, secure=http.secure_cookies)


def application(app: App) -> FastAPI:
    """Pages and API, without the middleware."""
    site = FastAPI(
        title="factd",
        version="1",
        summary="Keeps the factual knowledge inside an open-weight language model current.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    authenticator = Authenticator(app.ledger.store, app.config.console, app.ledger.now)
    site.state.context = ConsoleContext(app=app, authenticator=authenticator)
    site.include_router(api)
    site.include_router(pages)
    site.mount("/static", StaticFiles(directory=STATIC))
    for kind in (FactdError, StoreError, HTTPException, RequestValidationError, Exception):
        site.add_exception_handler(kind, _refused)
    return site


def _refused(request: Request, error: Exception) -> Response:
    """The answer to a request that failed: a status and one sentence."""
    status, sentence = 500, "the console failed; see `request broke` in the daemon's log"
    headers: dict[str, str] = {}
    if isinstance(error, FactdError | StoreError):
        status, sentence = status_of(error), str(error)
        wait = getattr(error, "retry_seconds", None)
        headers = {"Retry-After": f"{wait:.0f}"} if wait else {}
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        status, sentence = 422, f"{where}: {first['msg']}" if where else str(first["msg"])
    elif isinstance(error, HTTPException):
        status, sentence = error.status_code, str(error.detail)
        headers = dict(error.headers or {})
    else:
        log.error("request broke", path=request.url.path, error=repr(error))
    return refusal(request, status, sentence, headers)


def status_of(error: FactdError | StoreError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ConsoleError):
        return error.status
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Unstorable):
        return 422
    if isinstance(error, FactdError | StaleState | IllegalMove | BakedIntoBase):
        return 409
    return 503
