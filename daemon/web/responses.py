"""Answers: pages made from templates, and refusals as a page or as one sentence of JSON."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from factd.daemon.web import formatting
from factd.daemon.web.actions import ACTIONS
from factd.daemon.web.auth.accounts import Caller
from factd.store.model.operations import Role

TEMPLATES = Environment(
    loader=PackageLoader("factd.daemon.web", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals.update(
    mark=formatting.mark,
    utc=formatting.utc,
    iso=formatting.iso,
    ago=formatting.ago,
    count=formatting.count,
    short=formatting.short,
    linked=formatting.linked,
    with_code=formatting.with_code,
    actions=ACTIONS,
    operate=Role.OPERATE,
)


def page(
    template: str, request: Request, caller: Caller | None, *, status: int = 200, **more: Any
) -> Response:
    """A page from a template. It shows the sentence of the action that led here."""
    query = request.query_params
    done = formatting.done_text(query.get("done", ""), query.get("of", ""))
    shown = {"me": caller, "path": request.url.path, "done": done, **more}
    return HTMLResponse(TEMPLATES.get_template(template).render(shown), status_code=status)


def refusal(request: Request, status: int, sentence: str, headers: Mapping[str, str]) -> Response:
    """Why a request is refused. A browser that is not logged in is sent to the login page."""
    path = request.url.path
    if path.startswith("/api/"):
        more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"error": sentence}, status_code=status, headers={**headers, **more})
    if status == 401 and path not in ("/login", "/logout"):
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        back = f"?next={quote(wanted)}" if request.method == "GET" and wanted != "/" else ""
        return RedirectResponse(f"/login{back}", status_code=303)
    template = TEMPLATES.get_template("refused.html")
    shown = {"me": None, "path": path, "done": "", "status": status, "sentence": sentence}
    return HTMLResponse(template.render(shown), status_code=status, headers=dict(headers))
