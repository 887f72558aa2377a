"""The JSON API under /api/v1.

It can do everything that the pages can. An error is {"error": one sentence}.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from factd.daemon.status.fact_explanation import explain_fact
from factd.daemon.status.overview import overview
from factd.daemon.web import pagination, schemas
from factd.daemon.web.actions import ACTIONS, LARGEST, Action, reason
from factd.daemon.web.auth.accounts import Caller
from factd.daemon.web.dependencies import (
    BEARER,
    COOKIE,
    CSRF_HEADER,
    ApiOperator,
    ConsoleContext,
    Context,
    Viewer,
    refuse_other_sites,
    refuse_wrong_csrf,
)
from factd.daemon.web.middleware import address_of
from factd.daemon.web.pagination import LIMIT, LONGEST, MOST
from factd.store import queries, views

RELEASES_SEARCHED = 50  # the newest releases, for those that carry a fact
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem} for status in (400, 401, 403, 404, 409, 422, 503)
}
api = APIRouter(prefix="/api/v1", responses=ERRORS, dependencies=[Depends(BEARER), Depends(COOKIE)])

Number = Annotated[int, Path(ge=0, le=LARGEST)]
FactId = Annotated[str, Path(pattern="^[0-9a-f]{1,16}$")]
After = Annotated[str, Query(max_length=1000, description="The `next` of the part before.")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Word = Annotated[str, Query(max_length=LONGEST)]


@api.post("/session", responses={429: {"model": schemas.Problem}})
def log_in(
    request: Request, response: Response, given: schemas.Credentials, context: Context
) -> schemas.Me:
    """Log in.

    The answer sets a cookie, and holds the CSRF token that calls which change something send as
    X-CSRF-Token.
    """
    refuse_other_sites(request)
    table = context.app.config.http
    address = address_of(request, table.proxies)
    before = request.cookies.get(context.cookie, "")
    cookie = context.authenticator.login(given.name, given.password, address, before=before)
    set_cookie(response, context, cookie)
    caller = context.authenticator.of_cookie(cookie)
    role = caller.role.value if caller else ""
    return schemas.Me(name=given.name, role=role, csrf=caller.csrf if caller else None)


@api.delete("/session", status_code=204)
def log_out(request: Request, response: Response, context: Context, caller: Viewer) -> None:
    """Log out: end the session."""
    if caller.csrf:
        refuse_other_sites(request)
        refuse_wrong_csrf(caller, request.headers.get(CSRF_HEADER, ""))
        context.authenticator.logout(request.cookies.get(context.cookie, ""))
        response.delete_cookie(
            context.cookie, path="/", secure=context.app.config.http.secure_cookies
        )


def set_cookie(response: Response, context: ConsoleContext, cookie: str) -> None:
    """Set the session cookie.

    Scripts and other sites cannot use it. The browser keeps it until it is closed.
    """
    secure = context.app.config.http.secure_cookies
    response.set_cookie(
        context.cookie, cookie, httponly=True, samesite="strict", path="/", secure=secure
    )


@api.get("/me")
def me(caller: Viewer) -> schemas.Me:
    """The caller's name and role."""
    return schemas.Me(name=caller.name, role=caller.role.value, csrf=caller.csrf or None)


@api.get("/overview")
def show_overview(context: Context, _: Viewer) -> schemas.OverviewShape:
    """The live release, the queue, sources, servers, the last runs, and how many facts can still be
    written.
    """
    return schemas.OverviewShape.model_validate(
        overview(
            context.app.ledger,
            context.app.versions,
            context.app.planning,
            context.app.fleet,
            context.app.config.approvals,
        )
    )


@api.get("/facts")
def list_facts(
    context: Context,
    _: Viewer,
    q: Word = "",
    status: Word = "",
    relation: Word = "",
    source: Word = "",
    after: After = "",
    limit: Limit = LIMIT,
) -> schemas.ListPage[schemas.FactShape]:
    """Search facts by the beginning of a subject's name or of a fact's id, by a subject's whole id,
    by status, relation or source.

    One call reads a bounded number of rows. So a part may hold fewer than `limit` items, or no
    item, and still have a `next`.
    """
    search = pagination.fact_search(text=q, status=status, relation=relation, source=source)
    part = pagination.facts(context.app, search, after=after, limit=limit)
    items = [schemas.FactShape.model_validate(fact.as_json()) for fact in part.items]
    return schemas.ListPage(items=items, next=part.next)


@api.get("/facts/{id_}")
def show_fact(context: Context, _: Viewer, id_: FactId) -> schemas.FactDetail:
    """One fact, by its id or a unique beginning of it: who claims it, its history, verdicts, and
    the releases that carry it.
    """
    explanation = explain_fact(context.app.ledger, id_, newest=RELEASES_SEARCHED)
    return schemas.FactDetail.model_validate(explanation.as_json())


@api.get("/candidates")
def list_candidates(
    context: Context, _: Viewer, after: After = "", limit: Limit = LIMIT
) -> schemas.ListPage[schemas.CandidateShape]:
    """List candidates, newest first."""
    part = pagination.candidates(context.app, after=after, limit=limit)
    return schemas.ListPage(
        items=[schemas.CandidateShape.model_validate(item) for item in part.items], next=part.next
    )


@api.get("/candidates/{id_}")
def show_candidate(context: Context, _: Viewer, id_: Number) -> schemas.CandidateDetail:
    """One candidate, what was measured, and what the gates decided."""
    with context.app.ledger.read() as session:
        line = views.overviews.candidate(session, id_)
        candidate = queries.releases.candidate(session, id_)
        release = views.overviews.release_of(session, id_)
    report = candidate.report or {}
    return schemas.CandidateDetail(
        **schemas.CandidateShape.model_validate(line).model_dump(),
        release=release.number if release else None,
        fact_ids=list(candidate.fact_ids),
        decision=report.get("decision") or {},
        measurements=list(report.get("measurements") or ()),
        set_aside=list(report.get("set_aside") or ()),
    )


@api.get("/releases")
def list_releases(
    context: Context, _: Viewer, after: After = "", limit: Limit = LIMIT
) -> schemas.ListPage[schemas.ReleaseShape]:
    """List releases, newest first."""
    part = pagination.releases(context.app, after=after, limit=limit)
    return schemas.ListPage(
        items=[schemas.ReleaseShape.model_validate(item) for item in part.items], next=part.next
    )


@api.get("/releases/{number}")
def show_release(context: Context, _: Viewer, number: Number) -> schemas.ReleaseDetail:
    """One release with the ids of its facts."""
    with context.app.ledger.read() as session:
        line = views.overviews.release(session, number)
        fact_ids = queries.releases.release(session, number).fact_ids
    about = schemas.ReleaseShape.model_validate(line).model_dump()
    return schemas.ReleaseDetail(**about, fact_ids=list(fact_ids))


@api.get("/audit")
def list_audit(
    context: Context, _: Viewer, after: After = "", limit: Limit = LIMIT
) -> schemas.ListPage[schemas.AuditShape]:
    """List what was done, by whom and why, newest first."""
    part = pagination.audit(context.app, after=after, limit=limit)
    return schemas.ListPage(
        items=[schemas.AuditShape.model_validate(item) for item in part.items], next=part.next
    )


def _endpoint(action: Action) -> Callable[..., schemas.ActionResult]:
    """The function behind the address of an action."""

    def perform(
        context: ConsoleContext, caller: Caller, target: str, given: schemas.Reason
    ) -> schemas.ActionResult:
        action.perform(context.app, target, caller.name, reason(given.why))
        return schemas.ActionResult(done=action.done.format(target))

    def on_release(
        context: Context, caller: ApiOperator, number: Number, given: schemas.Reason
    ) -> schemas.ActionResult:
        return perform(context, caller, str(number), given)

    def on_fact(
        context: Context, caller: ApiOperator, id_: FactId, given: schemas.Reason
    ) -> schemas.ActionResult:
        return perform(context, caller, id_, given)

    def on_all(
        context: Context, caller: ApiOperator, given: schemas.Reason
    ) -> schemas.ActionResult:
        return perform(context, caller, "", given)

    by_kind: dict[str, Callable[..., schemas.ActionResult]] = {
        "release": on_release,
        "fact": on_fact,
    }
    return by_kind.get(action.kind, on_all)


PATHS = {"release": "/releases/{number}/", "fact": "/facts/{id_}/", "": "/"}
for action in ACTIONS.values():
    call = api.post(
        PATHS[action.kind] + action.name,
        name=action.name,
        operation_id=action.name,
        description=action.means,
    )
    call(_endpoint(action))
