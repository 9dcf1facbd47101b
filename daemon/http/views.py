"""What the answers look like, for /api/openapi.json."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from daemon.schedule.desk import JobStatus
from daemon.store.job_model import FiringState, JobAction
from daemon.store.model import RunStatus, StepState


class WrongField(BaseModel):
    """A field of a request, and what is wrong with it."""

    field: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457); `errors` names every wrong field of a 422."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongField] = []


class Health(BaseModel):
    """The state as a whole, and of each part."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, Literal["ok", "failing"]]


class Published(BaseModel):
    """The id of an event that is durable."""

    id: str


class RunTrigger(BaseModel):
    """What started a run."""

    kind: str
    name: str
    id: str
    correlation_id: str | None
    traceparent: str | None = None
    tracestate: str | None = None


class FailedAttempt(BaseModel):
    """One failed attempt."""

    time: datetime
    type: str
    message: str
    traceback: str


class FailedStep(BaseModel):
    """A step, or its compensation, that finally failed."""

    step: str
    phase: Literal["invoke", "compensate"]
    attempts: list[FailedAttempt]


class RunStep(BaseModel):
    """A step that was started."""

    name: str
    state: StepState
    input: Any
    output: Any
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    errors: list[FailedAttempt]


class Run(BaseModel):
    """One execution of a workflow."""

    run_id: str
    workflow: str
    status: RunStatus
    trigger: RunTrigger
    attempt: int
    input: Any
    result: Any
    errors: list[FailedStep]
    compensated: list[str]
    steps: dict[str, RunStep]
    created_at: datetime
    updated_at: datetime
    waiting_for: str | None


class Runs(BaseModel):
    """A page of runs, newest first; `next` begins the next page."""

    items: list[Run]
    next: str | None


class Workflow(BaseModel):
    """A workflow with its graph, as data and as a Mermaid flowchart."""

    name: str
    description: str | None
    timeout_s: float | None
    steps: list[str]
    graph: dict[str, Any]
    mermaid: str


class Workflows(BaseModel):
    """All workflows."""

    items: list[Workflow]


class FiringTime(BaseModel):
    """When a job is due: on its zone's clock, and in UTC."""

    local: datetime
    utc: datetime


class JobPause(BaseModel):
    """Since when a job is paused, by whom and why."""

    at: datetime
    by: str
    reason: str


class JobRetry(BaseModel):
    """What happens when a job's handler raises."""

    max_attempts: int
    delay_s: float
    backoff: float
    max_delay_s: float
    jitter: float


class FailedTry(BaseModel):
    """A failed attempt of a firing."""

    attempt: int
    started_at: datetime
    ended_at: datetime
    type: str
    message: str


class Firing(BaseModel):
    """One occurrence of a job; `by` and `reason` say who triggered it and why, `error` what went wrong last.

    `error` also says why it was skipped or missed; `due_at`: it begins, or is tried again, not before.
    """

    job: str
    scheduled_for: datetime
    state: FiringState
    trigger: Literal["schedule", "manual"]
    by: str
    reason: str
    attempt: int
    due_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    error: str
    attempts: list[FailedTry]


class Firings(BaseModel):
    """A page of a job's firings, latest first; `next` begins the next page."""

    items: list[Firing]
    next: str | None


class JobOrder(BaseModel):
    """What somebody ordered of a job, and why."""

    action: JobAction
    at: datetime
    by: str
    reason: str


class JobOrders(BaseModel):
    """A page of what was ordered of a job, latest first; `next` begins the next page."""

    items: list[JobOrder]
    next: str | None


class Job(BaseModel):
    """A job as this daemon has it, and how it stands in the fleet.

    `next`: its next firing times, none if it is over or disabled; while it is paused they are skipped.
    """

    name: str
    workflow: str | None
    schedule: str | None
    every_s: float | None
    timezone: str
    overlap: Literal["skip", "queue", "allow"]
    catch_up: Literal["latest", "all", "none"]
    catch_up_window_s: float
    jitter_s: float
    max_runs: int | None
    runs_left: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    retry: JobRetry
    timeout_s: float | None
    state: JobStatus
    paused: JobPause | None
    next: list[FiringTime]
    last: Firing | None


class Jobs(BaseModel):
    """All jobs, by name."""

    items: list[Job]


class Subscriber(BaseModel):
    """A subscriber, and how its queue stands; null is not known.

    `state`: `consuming`; `paused`, while the service seems to be down that its handler needs; `out_of_service`, for the
    reason in `trouble`; or `off`, by the configuration. `in_flight` is of this process on RabbitMQ, and of all on the
    embedded broker.
    """

    id: str
    events: list[str]
    state: str
    trouble: str
    ready: int | None
    in_flight: int | None
    consumers: int | None
    dead_letters: int | None


class Subscribers(BaseModel):
    """All subscribers."""

    items: list[Subscriber]


class DeadLetter(BaseModel):
    """A delivery that was given up; `undecodable` is the text of a body that is no JSON."""

    subscriber: str
    event_id: str
    event_name: str
    source: str
    data: Any
    undecodable: str | None
    headers: dict[str, Any]
    reason: str
    error: str
    traceback: str
    attempts: int
    first_seen_at: datetime
    dead_at: datetime


class DeadLetters(BaseModel):
    """Dead letters, oldest first."""

    items: list[DeadLetter]


class Replayed(BaseModel):
    """How many dead letters were put back."""

    replayed: int


class Discarded(BaseModel):
    """How many dead letters were deleted."""

    discarded: int
