"""The console as an ASGI app, made from factd."""

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
from factd.daemon.web.auth.accounts import Door
from factd.daemon.web.dependencies import Desk
from factd.daemon.web.errors import Turned
from factd.daemon.web.middleware import Guard
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
ANYWHERE = ("0.0.0.0", "::", "")


def console(app: App) -> ASGIApp:
    """The console behind its guard."""
    http, table = app.config.http, app.config.console
    named = () if http.host in ANYWHERE else (http.host,)
    hosts = (*table.hosts, *named)
    return Guard(application(app), hosts=hosts, secure=http.secure_cookies)


def application(app: App) -> FastAPI:
    """Pages and API."""
    site = FastAPI(
        title="factd",
        version="1",
        summary="Keeps the factual knowledge inside an open-weight language model current.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    site.state.desk = Desk(app=app, door=Door(app.ledger.store, app.config.console, app.ledger.now))
    site.include_router(api)
    site.include_router(pages)
    site.mount("/static", StaticFiles(directory=STATIC))
    for kind in (FactdError, StoreError, HTTPException, RequestValidationError, Exception):
        site.add_exception_handler(kind, _refused)
    return site


def _refused(request: Request, error: Exception) -> Response:
    status, sentence, headers = 500, "something broke; the log says what", dict[str, str]()
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
    """The HTTP status that an error means."""
    if isinstance(error, Turned):
        return error.status
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Unstorable):
        return 422
    if isinstance(error, FactdError | StaleState | IllegalMove | BakedIntoBase):
        return 409
    return 503
