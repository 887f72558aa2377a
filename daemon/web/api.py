"""The JSON API under /api/v1: everything that the pages do. Errors are {"error": one sentence}."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from factd.daemon.cli.facts.facts import explained
from factd.daemon.status.overview import overview
from factd.daemon.web import pagination, schemas
from factd.daemon.web.actions import ACTIONS, LARGEST, Action, reason
from factd.daemon.web.auth.accounts import Caller
from factd.daemon.web.dependencies import (
    BEARER,
    COOKIE,
    CSRF_HEADER,
    Asking,
    Desk,
    Looking,
    Operating,
    from_here,
    same_token,
)
from factd.daemon.web.middleware import address_of
from factd.daemon.web.pagination import LIMIT, LONGEST, MOST
from factd.store import queries, views

CARRIED = 50  # releases that are looked through for a fact
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem} for status in (400, 401, 403, 404, 409, 422, 503)
}
api = APIRouter(
    prefix="/api/v1", responses=PROBLEMS, dependencies=[Depends(BEARER), Depends(COOKIE)]
)

Number = Annotated[int, Path(ge=0, le=LARGEST)]
FactId = Annotated[str, Path(pattern="^[0-9a-f]{1,16}$")]
After = Annotated[str, Query(max_length=1000, description="`next` of the part before.")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Word = Annotated[str, Query(max_length=LONGEST)]


@api.post("/session", responses={429: {"model": schemas.Problem}})
def log_in(
    request: Request, response: Response, given: schemas.Credentials, desk: Asking
) -> schemas.Me:
    """Log in: a cookie, and the token that unsafe calls bring as X-CSRF-Token."""
    from_here(request)
    table = desk.app.config.http
    address = address_of(request, table.proxies)
    before = request.cookies.get(desk.cookie, "")
    cookie = desk.door.login(given.name, given.password, address, before=before)
    set_cookie(response, desk, cookie)
    caller = desk.door.of_cookie(cookie)
    role = caller.role.value if caller else ""
    return schemas.Me(name=given.name, role=role, csrf=caller.csrf if caller else None)


@api.delete("/session", status_code=204)
def log_out(request: Request, response: Response, desk: Asking, caller: Looking) -> None:
    """The session is over."""
    if caller.csrf:
        from_here(request)
        same_token(caller, request.headers.get(CSRF_HEADER, ""))
        desk.door.logout(request.cookies.get(desk.cookie, ""))
        response.delete_cookie(desk.cookie, path="/", secure=desk.app.config.http.secure_cookies)


def set_cookie(response: Response, desk: Desk, cookie: str) -> None:
    """Of no use to scripts or other sites; it ends with the browser, the session ends sooner."""
    secure = desk.app.config.http.secure_cookies
    response.set_cookie(
        desk.cookie, cookie, httponly=True, samesite="strict", path="/", secure=secure
    )


@api.get("/me")
def me(caller: Looking) -> schemas.Me:
    """Who asks, and what they may do."""
    return schemas.Me(name=caller.name, role=caller.role.value, csrf=caller.csrf or None)


@api.get("/overview")
def show_overview(desk: Asking, _: Looking) -> schemas.OverviewShape:
    """Live release, queue, sources, last runs, budget left."""
    return schemas.OverviewShape.model_validate(
        overview(
            desk.app.ledger,
            desk.app.versions,
            desk.app.planning,
            desk.app.fleet,
            desk.app.config.approvals,
        )
    )


@api.get("/facts")
def list_facts(
    desk: Asking,
    _: Looking,
    q: Word = "",
    status: Word = "",
    relation: Word = "",
    source: Word = "",
    after: After = "",
    limit: Limit = LIMIT,
) -> schemas.Page[schemas.FactShape]:
    """Facts by the start of a subject's name or of a fact's id, or a subject's whole id; by status, relation, source.

    A part may hold fewer than `limit` items, even none, and still have a `next`: a bounded number of rows is looked through.
    """
    what = pagination.wanted(text=q, status=status, relation=relation, source=source)
    found = pagination.facts(desk.app, what, after=after, limit=limit)
    items = [schemas.FactShape.model_validate(fact.as_json()) for fact in found.items]
    return schemas.Page(items=items, next=found.next)


@api.get("/facts/{id_}")
def show_fact(desk: Asking, _: Looking, id_: FactId) -> schemas.FactDetail:
    """One fact, by its id or the unique start of it: who said it, its history, verdicts, and the releases that hold it."""
    return schemas.FactDetail.model_validate(
        explained(desk.app.ledger, id_, newest=CARRIED).as_json()
    )


@api.get("/candidates")
def list_candidates(
    desk: Asking, _: Looking, after: After = "", limit: Limit = LIMIT
) -> schemas.Page[schemas.CandidateShape]:
    """The newest first."""
    found = pagination.candidates(desk.app, after=after, limit=limit)
    return schemas.Page(
        items=[schemas.CandidateShape.model_validate(one) for one in found.items], next=found.next
    )


@api.get("/candidates/{id_}")
def show_candidate(desk: Asking, _: Looking, id_: Number) -> schemas.CandidateDetail:
    """One candidate with what was measured and decided."""
    with desk.app.ledger.read() as session:
        line = views.overviews.candidate(session, id_)
        made = queries.releases.candidate(session, id_)
        release = views.overviews.release_of(session, id_)
    report = made.report or {}
    return schemas.CandidateDetail(
        **schemas.CandidateShape.model_validate(line).model_dump(),
        release=release.number if release else None,
        fact_ids=list(made.fact_ids),
        decision=report.get("decision") or {},
        measurements=list(report.get("measurements") or ()),
        set_aside=list(report.get("set_aside") or ()),
    )


@api.get("/releases")
def list_releases(
    desk: Asking, _: Looking, after: After = "", limit: Limit = LIMIT
) -> schemas.Page[schemas.ReleaseShape]:
    """The newest first."""
    found = pagination.releases(desk.app, after=after, limit=limit)
    return schemas.Page(
        items=[schemas.ReleaseShape.model_validate(one) for one in found.items], next=found.next
    )


@api.get("/releases/{number}")
def show_release(desk: Asking, _: Looking, number: Number) -> schemas.ReleaseDetail:
    """One release with the ids of its facts."""
    with desk.app.ledger.read() as session:
        line = views.overviews.release(session, number)
        held = queries.releases.release(session, number).fact_ids
    about = schemas.ReleaseShape.model_validate(line).model_dump()
    return schemas.ReleaseDetail(**about, fact_ids=list(held))


@api.get("/audit")
def list_audit(
    desk: Asking, _: Looking, after: After = "", limit: Limit = LIMIT
) -> schemas.Page[schemas.AuditShape]:
    """What was done, by whom and why, the newest first."""
    found = pagination.audit(desk.app, after=after, limit=limit)
    return schemas.Page(
        items=[schemas.AuditShape.model_validate(one) for one in found.items], next=found.next
    )


def _doing(action: Action) -> Callable[..., schemas.Done]:
    """The call that does an action."""

    def do(desk: Desk, caller: Caller, target: str, given: schemas.Reason) -> schemas.Done:
        action.perform(desk.app, target, caller.name, reason(given.why))
        return schemas.Done(done=action.done.format(target))

    def on_release(
        desk: Asking, caller: Operating, number: Number, given: schemas.Reason
    ) -> schemas.Done:
        return do(desk, caller, str(number), given)

    def on_fact(
        desk: Asking, caller: Operating, id_: FactId, given: schemas.Reason
    ) -> schemas.Done:
        return do(desk, caller, id_, given)

    def on_all(desk: Asking, caller: Operating, given: schemas.Reason) -> schemas.Done:
        return do(desk, caller, "", given)

    calls: dict[str, Callable[..., schemas.Done]] = {"release": on_release, "fact": on_fact}
    return calls.get(action.kind, on_all)


PATHS = {"release": "/releases/{number}/", "fact": "/facts/{id_}/", "": "/"}
for action in ACTIONS.values():
    call = api.post(
        PATHS[action.kind] + action.name,
        name=action.name,
        operation_id=action.name,
        description=action.means,
    )
    call(_doing(action))
