"""The seam between sagad and databases: records, writes, and what a store promises.

Everything that changes is a `Write`. Writes that belong together are committed together, and many commits share one
transaction (group commit). Times are whole microseconds since the epoch (`_us`); values are JSON as bytes.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RunStatus(StrEnum):
    """Where a run stands.

    running --> completed
       |  ^
       v  |
    waiting      (a timer, an event, an external step, a retry, a free place, or held)
       |
       v
    compensating --> reverted | failed | cancelled      (running goes here, too; a retry goes back from failed)
    """

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    REVERTED = "reverted"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to a run with this status by itself."""
        return self in _ENDED


_ENDED = frozenset({RunStatus.COMPLETED, RunStatus.REVERTED, RunStatus.FAILED, RunStatus.CANCELLED})


class StepState(StrEnum):
    """Where a step stands in its run.

    running -> completed | skipped | failed | waiting (for a retry, or the outside)
    completed, failed -> compensating -> compensated | compensation_failed (-> compensating: the run is retried)
    """

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


@dataclass(slots=True)
class RunRecord:
    """One attempt of a run, as it is stored.

    Attributes:
        key: Internal, time-ordered, unique; orders runs and their pages.
        run_id: The public id; unique together with `app` and `attempt`.
        attempt: 1 for the first; a run that was rolled back and is asked for again gets the next one.
        trigger: JSON: what started it.
        errors: JSON: a list of what finally failed, in order.
        owner: The id of the process that drives it; empty: nobody.
        wake_us: When a waiting run is due; None if only the outside can wake it.
        waiting_for: What a waiting run waits for, in words; empty if it does not.
        deadline_us: When the run's own timeout strikes.
        graph_hash: Which graph it was started with.
        cancel_us: When somebody asked to cancel it; its owner never writes it.
    """

    key: str
    app: str
    run_id: str
    attempt: int
    workflow: str
    status: RunStatus
    trigger: bytes
    input: bytes | None
    graph_hash: str
    owner: str
    created_us: int
    updated_us: int
    result: bytes | None = None
    errors: bytes = b"[]"
    ended_us: int | None = None
    wake_us: int | None = None
    waiting_for: str = ""
    deadline_us: int | None = None
    parent_key: str | None = None
    cancel_us: int | None = None


@dataclass(slots=True)
class StepRecord:
    """A checkpoint: the stored outcome of one step of a run.

    Attributes:
        name: The step's name in its workflow; with `run_key` the identity.
        seq: Order in which the run's steps were started; 1 is the first.
        kind: Kind of the node: `step`, or another that has a record of its own (`transform`, ...).
        input, output: JSON; None where there is none, or not yet.
        undo: JSON of what the compensation gets, where it is not the output.
        attempts: How many attempts were started.
        failures: JSON: a list of the failed attempts, of both phases.
        done_seq: Order in which the run's steps were undone; None if this one was not.
        events: JSON: a list of the packed messages that it staged; empty if it staged none.
    """

    run_key: str
    name: str
    seq: int
    kind: str
    state: StepState
    attempts: int
    started_us: int
    input: bytes | None = None
    output: bytes | None = None
    undo: bytes | None = None
    failures: bytes = b"[]"
    ended_us: int | None = None
    done_seq: int | None = None
    events: bytes = b""


@dataclass(slots=True)
class OutgoingEvent:
    """An event that a run or a handler emitted, on its way to the bus: the outbox."""

    id: str
    app: str
    origin: str
    seq: int
    message: bytes
    created_us: int


@dataclass(slots=True)
class QueuedDelivery:
    """One event on one subscriber's queue of the embedded bus, or among its dead letters.

    Attributes:
        seq: Given by the store; orders the queue. 0 before it is stored.
        headers: JSON: the rest of the envelope.
        due_us: Not to be delivered before.
        owner: Which process took it; empty: nobody.
        reason: Why it is a dead letter; empty: it is none.
    """

    seq: int
    app: str
    subscriber: str
    event_id: str
    event_name: str
    source: str
    headers: bytes
    body: bytes
    attempt: int
    due_us: int
    first_seen_us: int
    owner: str = ""
    deliveries: int = 0
    reason: str = ""
    error: str = ""
    traceback: str = ""
    dead_us: int | None = None


class FiringState(StrEnum):
    """Where one occurrence of a job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"


@dataclass(slots=True)
class FiringRecord:
    """One occurrence of a job's schedule; (app, job, scheduled_us) is unique, and that is the claim.

    Attributes:
        attempt: How many were started; 0 while it waits for the first.
        error: What went wrong last, or why it was skipped or missed; empty if it went well.
    """

    app: str
    job: str
    scheduled_us: int
    state: FiringState
    owner: str
    attempt: int
    started_us: int
    ended_us: int | None = None
    error: str = ""


# --- writes -----------------------------------------------------------------------------------------------------------
# A guard is a write that may affect no row; then nothing of its commit is written, and the commit's outcome says why.


@dataclass(slots=True)
class InsertRun:
    """Guard: start a run. CONFLICT if (app, run_id, attempt) is there already."""

    record: RunRecord


@dataclass(slots=True)
class UpdateRun:
    """Guard: replace what may change in a run's row. FENCED unless the row's owner is still `record.owner`."""

    record: RunRecord


@dataclass(slots=True)
class FenceRun:
    """Guard: write nothing to the run's row. FENCED unless its owner is still `owner`."""

    key: str
    owner: str


@dataclass(slots=True)
class RequestCancel:
    """Guard: note that a run is to be cancelled, whoever owns it. CONFLICT if it has ended, or is not there."""

    key: str
    at_us: int


@dataclass(slots=True)
class ReopenRun:
    """Guard: write a run's status, owner, errors and end. CONFLICT unless it is `failed`, and its latest attempt."""

    record: RunRecord


@dataclass(slots=True)
class RequireEnded:
    """Guard: write nothing to the run's row. CONFLICT unless it has ended."""

    key: str


@dataclass(slots=True)
class PutStep:
    """Insert or replace a checkpoint. Its commit has a guard for the same run."""

    record: StepRecord


@dataclass(slots=True)
class PutGraph:
    """Keep a graph's JSON under its hash; does nothing if it is there."""

    hash: str
    workflow: str
    graph: bytes


@dataclass(slots=True)
class StageEvent:
    """Put an event into the outbox; does nothing if its id is there."""

    event: OutgoingEvent


@dataclass(slots=True)
class DropOutgoing:
    """Take relayed events off the outbox."""

    ids: tuple[str, ...]


@dataclass(slots=True)
class RecordHandled:
    """Guard: note that a subscriber is done with an event. CONFLICT if that is noted already."""

    app: str
    subscriber: str
    source: str
    event_name: str
    event_id: str
    handled_us: int


@dataclass(slots=True)
class Enqueue:
    """Put deliveries on queues of the embedded bus."""

    deliveries: tuple[QueuedDelivery, ...]


@dataclass(slots=True)
class SettleDelivery:
    """Guard: take a delivery off its queue. FENCED unless it is still owned by `owner`."""

    seq: int
    owner: str


@dataclass(slots=True)
class UpdateDelivery:
    """Guard: write back all that may change, the owner too ("" releases it). FENCED unless `owner` still owns it.

    What may change: attempt, due time, owner, deliveries, and what makes it a dead letter. A dead letter has no owner.
    """

    record: QueuedDelivery
    owner: str


@dataclass(slots=True)
class ClaimFiring:
    """Guard: claim one occurrence of a job. CONFLICT if somebody has."""

    record: FiringRecord


@dataclass(slots=True)
class UpdateFiring:
    """Guard: write back state, attempt, end and error. FENCED unless the row's owner is still `record.owner`."""

    record: FiringRecord


Write = (
    InsertRun
    | UpdateRun
    | FenceRun
    | RequestCancel
    | ReopenRun
    | RequireEnded
    | PutStep
    | PutGraph
    | StageEvent
    | DropOutgoing
    | RecordHandled
    | Enqueue
    | SettleDelivery
    | UpdateDelivery
    | ClaimFiring
    | UpdateFiring
)


class Outcome(StrEnum):
    """What became of a commit; nothing of it was written unless it is APPLIED."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None does not restrict.

    Attributes:
        trigger: A trigger's kind (`event`), or kind and name (`event:hello-customer`).
        since_us: Created at this time or later, in microseconds since the epoch.
        text: Occurs in the run id, the workflow's name, the input or the errors, ignoring case.
    """

    workflow: str | None = None
    status: RunStatus | None = None
    trigger: str | None = None
    since_us: int | None = None
    text: str | None = None


class Store(Protocol):
    """Keeps runs, checkpoints, queues, firings and the outbox of one or many applications.

    Guarantees: a commit is applied whole or not at all; once its outcome is known it is durable (as far as the
    implementation keeps anything at all); commits of one process are applied in the order in which they were
    submitted; a guard that affects no row voids its whole commit and no other. A commit whose caller is cancelled
    is applied all the same. A read sees every commit whose outcome was known before it was called.

    A process is dead when its lease is over, was ended, or was never announced; never to itself.

    Every method that reads or writes raises `StoreUnavailableError` while the database cannot be reached, except
    `commit`: it waits, as long as the store is open, for a database that will take writes again.
    """

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment, in one sentence; empty if it can."""

    async def open(self) -> None:
        """Open, and bring the schema up to date. Raises `StoreVersionError` for a newer database."""

    async def aclose(self) -> None:
        """Commit what was submitted, and close."""

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        """Submit writes that belong together; the submission happens at the call, the outcome is awaited.

        Records are as they were at the call; what happens to them afterwards is not stored. The result may be
        awaited once, or dropped. Awaiting raises `ValueError` for values that no database could keep, and
        `StoreUnavailableError` if the store was closed before it could write.
        """

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        """Return the latest attempt of a run."""

    async def runs(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> list[RunRecord]:
        """Return runs, newest first, those before the key `after`; a run's former attempts are listed too."""

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        """Return the checkpoints of runs by their keys, in the order of `seq`; a key without any is there, empty."""

    async def claim_runs(self, app: str, owner: str, workflows: Sequence[str], *, limit: int) -> list[RunRecord]:
        """Take over unended runs of these workflows whose owner is dead or nobody; in one transaction."""

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        """Return the unended runs of this owner that are to be cancelled."""

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:
        """Announce or renew this process's lease on what it owns; by the database's clock."""

    async def retire(self, owner: str) -> None:
        """End the lease: what this process still owns may be claimed by others at once."""

    # --- embedded queues ---
    async def bindings(self, app: str) -> list[tuple[str, str]]:
        """Return (subscriber, pattern) of every queue."""

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        """Make these exactly the patterns that a queue is bound to."""

    async def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool = False
    ) -> list[QueuedDelivery]:
        """Take over due deliveries that nobody owns, or whose owner is dead; `deliveries` is raised by 1.

        Those that have been due for longest come first, and among equals those that were enqueued first.

        `ordered`: at most one, the first of the queue that is no dead letter; nothing while that one is not due, or
        its owner lives. In the same transaction, so that two processes never hold two of one ordered queue.
        """

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        """Return when the next delivery that nobody owns is due on these queues; `ordered`: only each queue's first."""

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        """Return (ready, owned, dead) by subscriber; ready includes those that are not due yet."""

    async def dead(self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int) -> list[QueuedDelivery]:
        """Return dead letters, oldest first; by event id if `ids` is given."""

    async def handled(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> bool:
        """Tell whether a subscriber is done with an event."""

    # --- jobs ---
    async def firings(self, app: str, job: str, *, limit: int, before_us: int | None = None) -> list[FiringRecord]:
        """Return a job's firings, latest first."""

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        """Take over running firings of these jobs whose owner is dead, earliest first; `attempt` is raised by 1."""

    # --- outbox ---
    async def outgoing(self, app: str, *, limit: int) -> list[OutgoingEvent]:
        """Return staged events in the order of their commits; those of one origin in the order of `seq`."""

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back in the event loop when a queue may have changed, or a run lost its owner or is to be cancelled.

        This process's own commits count as well as other processes'. Returns the unsubscriber. A hint may come
        without reason, or be lost: whoever relies on it also looks now and then by itself.
        """
