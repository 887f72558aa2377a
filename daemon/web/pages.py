"""The pages.

An action is a form on a page of its own, with the session's CSRF token and a reason.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from factd.daemon.evaluation.report_page import fact_label
from factd.daemon.status.fact_explanation import explain_fact
from factd.daemon.status.overview import overview
from factd.daemon.status.version_files import files_text
from factd.daemon.web import formatting, pagination
from factd.daemon.web.actions import Action, action_named, number, reason
from factd.daemon.web.api import RELEASES_SEARCHED, FactId, Number, set_cookie
from factd.daemon.web.dependencies import (
    ConsoleContext,
    Context,
    Form,
    FormOperator,
    Viewer,
    refuse_wrong_csrf,
)
from factd.daemon.web.errors import BadRequest, ConsoleError
from factd.daemon.web.middleware import REPORT_POLICY, address_of
from factd.daemon.web.pagination import LIMIT
from factd.daemon.web.responses import page
from factd.store import queries
from factd.store.errors import NotFound
from factd.store.model.facts import Fact, FactStatus
from factd.store.views import overviews

pages = APIRouter(include_in_schema=False)
Parameter = Annotated[str, Query()]
FACTS_SHOWN = 100  # on the page of a release


@pages.get("/login")
def login_page(request: Request, next: Parameter = "/") -> Response:
    """The login form."""
    return page("login.html", request, None, next=formatting.safe_path(next), name="", problem="")


@pages.post("/login")
def log_in(request: Request, context: Context, form: Form) -> Response:
    """Log in and go back to the page that was asked for, or show why the login failed."""
    name, back = form.get("name", ""), formatting.safe_path(form.get("next", "/"))
    address = address_of(request, context.app.config.http.proxies)
    before = request.cookies.get(context.cookie, "")
    try:
        cookie = context.authenticator.login(name, form.get("password", ""), address, before=before)
    except ConsoleError as error:
        more = {"next": back, "name": name, "problem": str(error)}
        return page("login.html", request, None, status=error.status, **more)
    answer = RedirectResponse(back, status_code=303)
    set_cookie(answer, context, cookie)
    return answer


@pages.post("/logout")
def log_out(request: Request, context: Context, caller: Viewer, form: Form) -> Response:
    """Log out: end the session."""
    refuse_wrong_csrf(caller, form.get("csrf", ""))
    context.authenticator.logout(request.cookies.get(context.cookie, ""))
    answer = RedirectResponse("/login", status_code=303)
    secure = context.app.config.http.secure_cookies
    answer.delete_cookie(context.cookie, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


@pages.get("/")
def overview_page(request: Request, context: Context, caller: Viewer) -> Response:
    """How factd stands now."""
    now = overview(
        context.app.ledger,
        context.app.versions,
        context.app.planning,
        context.app.fleet,
        context.app.config.approvals,
    )
    return page("overview.html", request, caller, now=now, statuses=formatting.SHOWN_STATUSES)


@pages.get("/facts")
def facts_page(
    request: Request,
    context: Context,
    caller: Viewer,
    q: Parameter = "",
    status: Parameter = "",
    relation: Parameter = "",
    source: Parameter = "",
    after: Parameter = "",
) -> Response:
    """The search for facts and a part of its result."""
    given = {"q": q, "status": status, "relation": relation, "source": source}
    search = pagination.fact_search(text=q, status=status, relation=relation, source=source)
    part = pagination.facts(context.app, search, after=after)
    return page(
        "facts.html",
        request,
        caller,
        given=given,
        rows=[(fact, _in_words(context, fact)) for fact in part.items],
        more=formatting.linked("/facts", {**given, "after": part.next}) if part.next else "",
        begun=bool(after),
        statuses=list(FactStatus),
        relations=sorted((r.id, r.name) for r in context.app.prompts.catalogue.values()),
        sources=sorted(context.app.sources),
    )


def _in_words(context: ConsoleContext, fact: Fact) -> str:
    """A fact as a sentence of its relation."""
    return fact_label(fact, context.app.prompts)


@pages.get("/facts/{id_}")
def fact_page(request: Request, context: Context, caller: Viewer, id_: FactId) -> Response:
    """Everything that is known about a fact."""
    explanation = explain_fact(context.app.ledger, id_, newest=RELEASES_SEARCHED)
    return page(
        "fact.html",
        request,
        caller,
        explanation=explanation,
        sentence=_in_words(context, explanation.fact),
        versions=[(version, _in_words(context, version)) for version in explanation.versions],
        searched=RELEASES_SEARCHED,
        gone=explanation.fact.status in (FactStatus.WITHDRAWN, FactStatus.NOTICE),
    )


@pages.get("/candidates")
def candidates_page(
    request: Request, context: Context, caller: Viewer, after: Parameter = ""
) -> Response:
    """The candidates, newest first."""
    part = pagination.candidates(context.app, after=after)
    more = formatting.linked("/candidates", {"after": part.next}) if part.next else ""
    return page("candidates.html", request, caller, rows=part.items, more=more)


@pages.get("/candidates/{id_}")
def candidate_page(request: Request, context: Context, caller: Viewer, id_: Number) -> Response:
    """What was decided about a candidate, and its report."""
    with context.app.ledger.read() as session:
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
        report=(context.app.paths.candidate(id_) / "report.html").is_file(),
        figure=formatting.figure,
    )


@pages.get("/candidates/{id_}/report")
def report_file(context: Context, _: Viewer, id_: Number) -> Response:
    """A candidate's report: a static page, sandboxed and without scripts. Raises: NotFound."""
    path = context.app.paths.candidate(id_) / "report.html"
    if not path.is_file():
        raise NotFound(f"candidate {id_} has no report; it is written when its checks are done")
    return FileResponse(
        path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY}
    )


@pages.get("/releases")
def releases_page(
    request: Request, context: Context, caller: Viewer, after: Parameter = ""
) -> Response:
    """The releases, newest first."""
    part = pagination.releases(context.app, after=after)
    more = formatting.linked("/releases", {"after": part.next}) if part.next else ""
    return page("releases.html", request, caller, rows=part.items, more=more)


@pages.get("/releases/{number}")
def release_page(request: Request, context: Context, caller: Viewer, number: Number) -> Response:
    """One release and its facts."""
    with context.app.ledger.read() as session:
        line = overviews.release(session, number)
        release = queries.releases.release(session, number)
        facts = queries.facts.facts_by_id(session, release.fact_ids[:FACTS_SHOWN])
    app = context.app
    return page(
        "release.html",
        request,
        caller,
        line=line,
        rows=[(fact, _in_words(context, fact)) for fact in facts],
        ready=app.versions.has(number),
        files=files_text(app.ledger, app.paths, app.versions, release),
    )


@pages.get("/audit")
def audit_page(
    request: Request, context: Context, caller: Viewer, after: Parameter = ""
) -> Response:
    """The audit log, newest first."""
    part = pagination.audit(context.app, after=after, limit=LIMIT)
    more = formatting.linked("/audit", {"after": part.next}) if part.next else ""
    return page("audit.html", request, caller, rows=part.items, more=more)


@pages.get("/actions/{name}")
@pages.get("/actions/{name}/{target}")
def confirm_page(
    request: Request, context: Context, caller: Viewer, name: str, target: str = ""
) -> Response:
    """What the action will do, and the form that asks for a reason. Raises: Forbidden, NotFound."""
    caller.may_operate()
    action = action_named(name)
    more: dict[str, Any] = {"target": target, "problem": "", "why": ""}
    about = _target_text(context, action, target)
    return page("confirm.html", request, caller, action=action, about=about, **more)


@pages.post("/actions/{name}")
@pages.post("/actions/{name}/{target}")
def act(
    request: Request,
    context: Context,
    caller: FormOperator,
    form: Form,
    name: str,
    target: str = "",
) -> Response:
    """Do the action, and go to the page of its target."""
    action = action_named(name)
    about = _target_text(context, action, target)
    try:
        why = reason(form.get("why", ""))
    except BadRequest as error:
        more: dict[str, Any] = {"target": target, "problem": str(error), "why": form.get("why", "")}
        return page("confirm.html", request, caller, status=422, action=action, about=about, **more)
    action.perform(context.app, target, caller.name, why)
    page_of_target = formatting.linked(action.page(target), {"done": action.name, "of": target})
    return RedirectResponse(page_of_target, status_code=303)


def _target_text(context: ConsoleContext, action: Action, target: str) -> str:
    """The target of an action in words. Raises: NotFound: the target does not exist."""
    if action.kind == "release":
        with context.app.ledger.read() as session:
            line = overviews.release(session, number(target))
        return (
            f"{formatting.count(line.facts, 'fact')}, "
            f"made {formatting.utc(line.created_at)} UTC: {line.why}"
        )
    if action.kind == "fact":
        with context.app.ledger.read() as session:
            return _in_words(context, queries.facts.get_fact(session, target))
    if target:
        raise NotFound(f"the action {action.name} takes no target")
    return ""
