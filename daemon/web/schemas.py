"""What the JSON API takes and gives, typed; OpenAPI is made from it."""

from datetime import date, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.web.actions import LONGEST_WHY

T = TypeVar("T")


class Shape(BaseModel):
    """Something that is given."""

    model_config = ConfigDict(from_attributes=True)


class Problem(Shape):
    """Why something was not done."""

    error: str = Field(description="One sentence, with what to do.")


class Reason(BaseModel):
    """Why something is to be done; kept in the audit log."""

    model_config = ConfigDict(extra="forbid")
    why: str = Field(min_length=1, max_length=LONGEST_WHY)


class Credentials(BaseModel):
    """Who logs in."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=200)


class Me(Shape):
    """Who asks."""

    name: str
    role: str
    csrf: str | None = Field(description="Of a session, for X-CSRF-Token; a token needs none.")


class Done(Shape):
    """Something was done."""

    done: str


class Page(Shape, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="`after` of the next part; null: there is none.")


class ReleaseShape(Shape):
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


class CandidateShape(Shape):
    """A candidate without its facts and report."""

    id: int
    batch_id: str
    status: str
    facts: int
    reasons: list[str]
    created_at: datetime
    changed_at: datetime


class CandidateDetail(CandidateShape):
    """A candidate with what was measured and decided."""

    release: int | None
    fact_ids: list[str]
    decision: dict[str, Any]
    measurements: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]


class EntityShape(Shape):
    """A thing with its names per language."""

    id: str
    labels: dict[str, str]
    aliases: dict[str, list[str]]


class ProvenanceShape(Shape):
    """How a claim reached us."""

    channel: str
    trust: int
    licence: str
    file: str
    line: int
    retrieved_at: datetime | None
    payload_hash: str
    soak_until: datetime | None


class FactShape(Shape):
    """One version of one association."""

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


class VerdictShape(Shape):
    """What was decided about a value."""

    ruling: str
    why: str
    who: str
    at: datetime


class CarrierShape(Shape):
    """A release that holds a fact."""

    number: int
    status: str


class FactDetail(Shape):
    """Everything that is known about a fact."""

    fact: FactShape
    versions: list[FactShape] = Field(description="Of the same subject and relation.")
    verdicts: dict[str, VerdictShape] = Field(description="By the object's id.")
    releases: list[CarrierShape] = Field(description="Of the newest 50, those that hold it.")
    beliefs: list[dict[str, Any]] = Field(description="Of the base model, before.")
    set_aside: list[dict[str, Any]]


class FlagShape(Shape):
    """A switch that is on."""

    why: str
    who: str
    since: datetime


class BudgetShape(Shape):
    """How many facts the edited layers still hold."""

    capacity: int
    used: int
    pending: int
    left: int
    today: dict[str, tuple[int, int]] = Field(
        description="What [limits] allows a day: what it has brought, what it may bring."
    )


class SourceShape(Shape):
    """Where a source stands."""

    name: str
    pulled_at: datetime | None
    succeeded_at: datetime | None
    not_before: datetime | None
    failures: int
    error: str
    frozen: str


class RunShape(Shape):
    """One tick of one job."""

    id: int
    job: str
    status: str
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    detail: str


class TaskShape(Shape):
    """Work for a worker."""

    id: int
    kind: str
    status: str
    attempt: int
    worker: str
    step: str
    created_at: datetime


class WorkerShape(Shape):
    """A process that does tasks."""

    name: str
    device: str
    seen_at: datetime
    task_id: int | None
    done: int


class ServerShape(Shape):
    """How a server stands towards the live release."""

    name: str
    kind: str
    canary: bool
    status: str = Field(description="good, waiting or failing")
    release: int | None = Field(description="That it serves; null: not known.")
    wanted: int | None
    handover: int | None = Field(description="The release of its last hand-over.")
    handover_status: str
    attempts: int
    error: str
    seen_at: datetime | None


class OverviewShape(Shape):
    """What an operator wants to know first."""

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


class AuditShape(Shape):
    """What somebody did."""

    id: int
    at: datetime
    who: str
    what: str
    why: str
