"""The pages. What changes something is a form with its session's token and a reason, confirmed on a page of its own."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from factd.daemon.cli.facts.facts import explained
from factd.daemon.evaluation.report_page import fact_label
from factd.daemon.status.overview import overview
from factd.daemon.web import formatting, pagination
from factd.daemon.web.actions import Action, action_named, number, reason
from factd.daemon.web.api import CARRIED, FactId, Number, set_cookie
from factd.daemon.web.dependencies import Asking, Desk, Form, Looking, OperatingByForm, same_token
from factd.daemon.web.errors import Mistaken, Turned
from factd.daemon.web.middleware import REPORTS, address_of
from factd.daemon.web.pagination import LIMIT
from factd.daemon.web.responses import page
from factd.store import queries
from factd.store.errors import NotFound
from factd.store.model.facts import Fact, FactStatus
from factd.store.views import overviews

pages = APIRouter(include_in_schema=False)
Given = Annotated[str, Query()]
FACTS_SHOWN = 100  # of a release


@pages.get("/login")
def login_page(request: Request, next: Given = "/") -> Response:
    """The form."""
    return page("login.html", request, None, next=formatting.safe_path(next), name="", problem="")


@pages.post("/login")
def log_in(request: Request, desk: Asking, form: Form) -> Response:
    """A new session, or why not."""
    name, back = form.get("name", ""), formatting.safe_path(form.get("next", "/"))
    address = address_of(request, desk.app.config.http.proxies)
    before = request.cookies.get(desk.cookie, "")
    try:
        cookie = desk.door.login(name, form.get("password", ""), address, before=before)
    except Turned as error:
        more = {"next": back, "name": name, "problem": str(error)}
        return page("login.html", request, None, status=error.status, **more)
    answer = RedirectResponse(back, status_code=303)
    set_cookie(answer, desk, cookie)
    return answer


@pages.post("/logout")
def log_out(request: Request, desk: Asking, caller: Looking, form: Form) -> Response:
    """The session is over."""
    same_token(caller, form.get("csrf", ""))
    desk.door.logout(request.cookies.get(desk.cookie, ""))
    answer = RedirectResponse("/login", status_code=303)
    secure = desk.app.config.http.secure_cookies
    answer.delete_cookie(desk.cookie, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


@pages.get("/")
def overview_page(request: Request, desk: Asking, caller: Looking) -> Response:
    """How factd stands."""
    seen = overview(
        desk.app.ledger,
        desk.app.versions,
        desk.app.planning,
        desk.app.fleet,
        desk.app.config.approvals,
    )
    return page("overview.html", request, caller, seen=seen, statuses=formatting.SHOWN_STATUSES)


@pages.get("/facts")
def facts_page(
    request: Request,
    desk: Asking,
    caller: Looking,
    q: Given = "",
    status: Given = "",
    relation: Given = "",
    source: Given = "",
    after: Given = "",
) -> Response:
    """Facts that are looked for."""
    given = {"q": q, "status": status, "relation": relation, "source": source}
    what = pagination.wanted(text=q, status=status, relation=relation, source=source)
    found = pagination.facts(desk.app, what, after=after)
    return page(
        "facts.html",
        request,
        caller,
        given=given,
        rows=[(fact, _said(desk, fact)) for fact in found.items],
        more=formatting.linked("/facts", {**given, "after": found.next}) if found.next else "",
        begun=bool(after),
        statuses=list(FactStatus),
        relations=sorted((r.id, r.name) for r in desk.app.prompts.catalogue.values()),
        sources=sorted(desk.app.sources),
    )


def _said(desk: Desk, fact: Fact) -> str:
    return fact_label(fact, desk.app.prompts)


@pages.get("/facts/{id_}")
def fact_page(request: Request, desk: Asking, caller: Looking, id_: FactId) -> Response:
    """Everything that is known about a fact."""
    found = explained(desk.app.ledger, id_, newest=CARRIED)
    return page(
        "fact.html",
        request,
        caller,
        found=found,
        said=_said(desk, found.fact),
        versions=[(version, _said(desk, version)) for version in found.versions],
        carried=CARRIED,
        gone=found.fact.status in (FactStatus.WITHDRAWN, FactStatus.NOTICE),
    )


@pages.get("/candidates")
def candidates_page(request: Request, desk: Asking, caller: Looking, after: Given = "") -> Response:
    """The newest first."""
    found = pagination.candidates(desk.app, after=after)
    more = formatting.linked("/candidates", {"after": found.next}) if found.next else ""
    return page("candidates.html", request, caller, rows=found.items, more=more)


@pages.get("/candidates/{id_}")
def candidate_page(request: Request, desk: Asking, caller: Looking, id_: Number) -> Response:
    """What was decided about a candidate, and its report."""
    with desk.app.ledger.read() as session:
        line = overviews.candidate(session, id_)
        report = queries.releases.candidate(session, id_).report or {}
        release = overviews.release_of(session, id_)
    return page(
        "candidate.html",
        request,
        caller,
        line=line,
        release=release,
        decision=report.get("decision") or {},
        findings=formatting.findings(report.get("decision") or {}),
        set_aside=report.get("set_aside") or (),
        report=(desk.app.paths.candidate(id_) / "report.html").is_file(),
        figure=formatting.figure,
    )


@pages.get("/candidates/{id_}/report")
def report_file(desk: Asking, _: Looking, id_: Number) -> Response:
    """The candidate's report, a static page with fewer rights than ours. Raises: NotFound."""
    path = desk.app.paths.candidate(id_) / "report.html"
    if not path.is_file():
        raise NotFound(f"candidate {id_} has no report; it is written when its checks are done")
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORTS})


@pages.get("/releases")
def releases_page(request: Request, desk: Asking, caller: Looking, after: Given = "") -> Response:
    """The newest first."""
    found = pagination.releases(desk.app, after=after)
    more = formatting.linked("/releases", {"after": found.next}) if found.next else ""
    return page("releases.html", request, caller, rows=found.items, more=more)


@pages.get("/releases/{number}")
def release_page(request: Request, desk: Asking, caller: Looking, number: Number) -> Response:
    """One release and its facts."""
    with desk.app.ledger.read() as session:
        line = overviews.release(session, number)
        ids = queries.releases.release(session, number).fact_ids[:FACTS_SHOWN]
        held = queries.facts.facts_by_id(session, ids)
    rows = [(fact, _said(desk, fact)) for fact in held]
    ready = desk.app.versions.has(number)
    return page("release.html", request, caller, line=line, rows=rows, ready=ready)


@pages.get("/audit")
def audit_page(request: Request, desk: Asking, caller: Looking, after: Given = "") -> Response:
    """What was done, the newest first."""
    found = pagination.audit(desk.app, after=after, limit=LIMIT)
    more = formatting.linked("/audit", {"after": found.next}) if found.next else ""
    return page("audit.html", request, caller, rows=found.items, more=more)


@pages.get("/actions/{name}")
@pages.get("/actions/{name}/{target}")
def confirm_page(
    request: Request, desk: Asking, caller: Looking, name: str, target: str = ""
) -> Response:
    """What would follow, and the form that asks for a reason. Raises: Forbidden, NotFound."""
    caller.may_operate()
    action = action_named(name)
    more: dict[str, Any] = {"target": target, "problem": "", "why": ""}
    about = _about(desk, action, target)
    return page("confirm.html", request, caller, action=action, about=about, **more)


@pages.post("/actions/{name}")
@pages.post("/actions/{name}/{target}")
def act(
    request: Request, desk: Asking, caller: OperatingByForm, form: Form, name: str, target: str = ""
) -> Response:
    """Do it, and go to what it was about."""
    action = action_named(name)
    about = _about(desk, action, target)
    try:
        why = reason(form.get("why", ""))
    except Mistaken as error:
        more: dict[str, Any] = {"target": target, "problem": str(error), "why": form.get("why", "")}
        return page("confirm.html", request, caller, status=422, action=action, about=about, **more)
    action.perform(desk.app, target, caller.name, why)
    there = formatting.linked(action.page(target), {"done": action.name, "of": target})
    return RedirectResponse(there, status_code=303)


def _about(desk: Desk, action: Action, target: str) -> str:
    """What an action is about, in words. Raises: NotFound: there is no such thing."""
    if action.kind == "release":
        with desk.app.ledger.read() as session:
            line = overviews.release(session, number(target))
        return f"{formatting.count(line.facts, 'fact')}, made {formatting.utc(line.created_at)} UTC: {line.why}"
    if action.kind == "fact":
        with desk.app.ledger.read() as session:
            return _said(desk, queries.facts.get_fact(session, target))
    if target:
        raise NotFound(f"{action.name} is about all of factd")
    return ""
