"""Pages from templates, and refusals: a page for people, one sentence of JSON for programs."""

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
    actions=ACTIONS,
    operate=Role.OPERATE,
)


def page(
    template: str, request: Request, caller: Caller | None, *, status: int = 200, **more: Any
) -> Response:
    """A page."""
    told = formatting.told(request.query_params.get("done", ""), request.query_params.get("of", ""))
    shown = {"me": caller, "path": request.url.path, "told": told, **more}
    return HTMLResponse(TEMPLATES.get_template(template).render(shown), status_code=status)


def refusal(request: Request, status: int, sentence: str, headers: Mapping[str, str]) -> Response:
    """Why not; a browser that is not logged in is sent to the login."""
    path = request.url.path
    if path.startswith("/api/"):
        more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"error": sentence}, status_code=status, headers={**headers, **more})
    if status == 401 and path not in ("/login", "/logout"):
        asked = path + (f"?{request.url.query}" if request.url.query else "")
        back = f"?next={quote(asked)}" if request.method == "GET" and asked != "/" else ""
        return RedirectResponse(f"/login{back}", status_code=303)
    template = TEMPLATES.get_template("refused.html")
    shown = {"me": None, "path": path, "told": "", "status": status, "sentence": sentence}
    return HTMLResponse(template.render(shown), status_code=status, headers=dict(headers))
