"""The typed bodies of the JSON API. The OpenAPI document is made from them."""

from datetime import date, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.web.actions import LONGEST_WHY

T = TypeVar("T")


class ResponseModel(BaseModel):
    """A body that the API answers with."""

    model_config = ConfigDict(from_attributes=True)


class Problem(ResponseModel):
    """Why a request failed."""

    error: str = Field(description="One sentence, with what to do.")


class Reason(BaseModel):
    """The reason for an action, kept in the audit log."""

    model_config = ConfigDict(extra="forbid")
    why: str = Field(min_length=1, max_length=LONGEST_WHY)


class Credentials(BaseModel):
    """Name and password of an account."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=200)


class Me(ResponseModel):
    """The caller."""

    name: str
    role: str
    csrf: str | None = Field(
        description="The session's token for X-CSRF-Token; null for a caller with an API token."
    )


class ActionResult(ResponseModel):
    """What an action did."""

    done: str


class ListPage(ResponseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(
        description="The `after` of the next part; null: this is the last part."
    )


class ReleaseShape(ResponseModel):
    """A release without its facts."""

    number: int
    status: str
    candidate: int | None
    facts: int
    who: str
    why: str
    created_at: datetime
    live_at: datetime | None


class ReleaseDetail(ReleaseShape):
    """A release with the ids of its facts."""

    fact_ids: list[str]


class CandidateShape(ResponseModel):
    """A candidate without its facts and report."""

    id: int
    batch_id: str
    status: str
    facts: int
    reasons: list[str]
    created_at: datetime
    changed_at: datetime


class CandidateDetail(CandidateShape):
    """A candidate with its measurements and the decision of the gates."""

    release: int | None
    fact_ids: list[str]
    decision: dict[str, Any]
    measurements: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]


class EntityShape(ResponseModel):
    """A subject or object with its names by language."""

    id: str
    labels: dict[str, str]
    aliases: dict[str, list[str]]


class ProvenanceShape(ResponseModel):
    """How a claim reached factd."""

    channel: str
    trust: int
    licence: str
    file: str
    line: int
    retrieved_at: datetime | None
    payload_hash: str
    soak_until: datetime | None


class FactShape(ResponseModel):
    """One version of a fact."""

    id: str
    status: str
    reason: str
    change: str
    known: bool
    base_said: str | None
    observed_at: datetime
    provenance: ProvenanceShape
    source: str
    revision: str
    event_time: datetime
    subject: EntityShape
    relation: str
    object: EntityShape
    valid_from: date | None
    valid_to: date | None
    withdrawn: bool = False
    references: int | None = None


class VerdictShape(ResponseModel):
    """A decision about a value."""

    ruling: str
    why: str
    who: str
    at: datetime


class CarrierShape(ResponseModel):
    """A release that carries a fact."""

    number: int
    status: str


class FactDetail(ResponseModel):
    """Everything that is known about a fact."""

    fact: FactShape
    versions: list[FactShape] = Field(description="All versions of the same subject and relation.")
    verdicts: dict[str, VerdictShape] = Field(description="Verdicts by the object's id.")
    releases: list[CarrierShape] = Field(
        description="Those of the newest 50 releases that carry the fact."
    )
    beliefs: list[dict[str, Any]] = Field(
        description="What the base model answered before the fact was written."
    )
    set_aside: list[dict[str, Any]]


class FlagShape(ResponseModel):
    """The freeze: who set it, when and why."""

    why: str
    who: str
    since: datetime


class BudgetShape(ResponseModel):
    """How many facts the edited layers hold, and how many more they can take."""

    capacity: int
    used: int
    pending: int
    left: int
    today: dict[str, tuple[int, int]] = Field(
        description="For each limit of [limits]: used today, allowed a day."
    )


class SourceShape(ResponseModel):
    """The state of a source."""

    name: str
    pulled_at: datetime | None
    succeeded_at: datetime | None
    not_before: datetime | None
    failures: int
    error: str
    frozen: str


class RunShape(ResponseModel):
    """One run of one job."""

    id: int
    job: str
    status: str
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    detail: str


class TaskShape(ResponseModel):
    """A task for a worker."""

    id: int
    kind: str
    status: str
    attempt: int
    worker: str
    step: str
    created_at: datetime


class WorkerShape(ResponseModel):
    """A worker process."""

    name: str
    device: str
    seen_at: datetime
    task_id: int | None
    done: int


class ServerShape(ResponseModel):
    """Which release a server serves, compared with the live one."""

    name: str
    kind: str
    canary: bool
    status: str = Field(description="good, waiting or failing")
    release: int | None = Field(description="The release that the server serves; null: not known.")
    wanted: int | None
    handover: int | None = Field(description="The release of the last hand-over to the server.")
    handover_status: str
    attempts: int
    error: str
    seen_at: datetime | None


class OverviewShape(ResponseModel):
    """How factd stands, on one screen."""

    at: datetime
    live: ReleaseShape | None
    published: int | None
    frozen: FlagShape | None
    facts: dict[str, int]
    budget: BudgetShape
    waiting: list[ReleaseShape]
    candidate: CandidateShape | None
    sources: list[SourceShape]
    servers: list[ServerShape]
    tasks: list[TaskShape]
    workers: list[WorkerShape]
    runs: list[RunShape]


class AuditShape(ResponseModel):
    """One line of the audit log."""

    id: int
    at: datetime
    who: str
    what: str
    why: str
