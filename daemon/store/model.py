"""What a store keeps: records. Times are whole microseconds since the epoch (`_us`); values are JSON as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

QUEUED = "a free place"
"""What a run waits for (`waiting_for`) whose workflow has as many runs going on as it may have."""
HELD = "held: "
"""How begins what a run waits for of which no process has all that it needs."""


class RunStatus(StrEnum):
    """Where a run stands; what may follow what is in `RUN_TRANSITIONS`.

    running --> completed      (a child goes on from here to compensating or an end when its parent rolls back)
       |  ^
       v  |
    waiting      (a timer, an event, an external step, a retry, a free place, or held)
       |
       v
    compensating --> reverted | failed | cancelled      (running goes here, too; both go straight to an end where
                                                         nothing is to be undone; a retry goes back from failed)
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
_ROLLED_BACK = frozenset({RunStatus.COMPENSATING, RunStatus.REVERTED, RunStatus.FAILED, RunStatus.CANCELLED})
RUN_TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.RUNNING: frozenset({RunStatus.WAITING, RunStatus.COMPLETED}) | _ROLLED_BACK,
    RunStatus.WAITING: frozenset({RunStatus.RUNNING}) | _ROLLED_BACK,
    RunStatus.COMPENSATING: _ROLLED_BACK - {RunStatus.COMPENSATING},
    RunStatus.COMPLETED: _ROLLED_BACK - {RunStatus.CANCELLED},  # a child alone; it had not failed itself
    RunStatus.REVERTED: frozenset(),
    RunStatus.FAILED: frozenset({RunStatus.COMPENSATING}),
    RunStatus.CANCELLED: frozenset(),
}
"""What a run's status may become. The documentation draws the same."""


class StepState(StrEnum):
    """Where a step, or another node that is written down, stands in its run; see `STEP_TRANSITIONS`.

    running -> completed | skipped | failed | waiting (for a retry, or the outside; -> the same, or running)
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


_OUTCOMES = frozenset({StepState.COMPLETED, StepState.SKIPPED, StepState.FAILED})
STEP_TRANSITIONS: Mapping[StepState, frozenset[StepState]] = {
    StepState.RUNNING: _OUTCOMES | {StepState.WAITING},
    StepState.WAITING: _OUTCOMES | {StepState.RUNNING},
    StepState.COMPLETED: frozenset({StepState.COMPENSATING}),
    StepState.SKIPPED: frozenset(),
    StepState.FAILED: frozenset({StepState.COMPENSATING}),
    StepState.COMPENSATING: frozenset({StepState.COMPENSATED, StepState.COMPENSATION_FAILED}),
    StepState.COMPENSATED: frozenset(),
    StepState.COMPENSATION_FAILED: frozenset({StepState.COMPENSATING}),
}
"""What a step's state may become. The documentation draws the same."""


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
        parent_key: The run whose step this one is; None for one that is at the top.
        cancel_us: When somebody asked to cancel it; its owner never writes it.
        root_key: The run at the top of it; None for one that is at the top itself. The owner of that one drives this
            one, which has no owner of its own, and is never claimed or cancelled by itself.
        epoch: How many times it changed hands. What an owner writes with a former one's epoch is void, also if both
            are the same process: it may own a run again whose former execution here has not noticed yet.
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
    root_key: str | None = None
    epoch: int = 0

    def become(self, status: RunStatus) -> None:
        """Change its status; the only way to.

        Raises:
            AssertionError: This one cannot follow: a mistake of the engine. Nothing is changed.
        """
        if status is not self.status:
            is_over = self.status is RunStatus.COMPLETED and self.root_key is None
            if is_over or status not in RUN_TRANSITIONS[self.status]:
                raise AssertionError(_impossible(f"run {self.run_id!r}", self.status, status))
            self.status = status


def is_held(record: RunRecord) -> bool:
    """Tell whether it waits for a process that has what it needs."""
    return record.waiting_for.startswith(HELD)


@dataclass(slots=True)
class StepRecord:
    """A checkpoint: the stored outcome of one step of a run.

    Attributes:
        name: The step's name in its workflow; with `run_key` the identity.
        seq: Order in which the run's steps were started; 1 is the first.
        kind: Kind of the node: `step`, or another that has a record of its own (`child`, `sleep`, `transform`, ...).
        input, output: JSON; None where there is none, or not yet.
        undo: JSON of what the compensation gets, where it is not the output.
        attempts: How many attempts were started.
        failures: JSON: a list of the failed attempts, of both phases.
        done_seq: Order in which the run's steps were undone; None if this one was not.
        events: JSON: a list of the packed messages that it staged; empty if it staged none.
        due_us: When a timer is due, or the timeout of what it waits for.
        awaits: The topic of the signal that it waits for while it is `waiting`; empty if it waits for none.
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
    due_us: int | None = None
    awaits: str = ""

    def become(self, state: StepState) -> None:
        """Change its state; the only way to.

        Raises:
            AssertionError: This one cannot follow: a mistake of the engine. Nothing is changed.
        """
        if state is not self.state:
            if state not in STEP_TRANSITIONS[self.state]:
                raise AssertionError(_impossible(f"step {self.name!r}", self.state, state))
            self.state = state


def _impossible(what: str, is_now: str, wanted: str) -> str:
    return f"{what} is {is_now} and cannot become {wanted}. This is a mistake in sagad; nothing was written of it."


@dataclass(slots=True)
class Signal:
    """Something that runs wait for: an event that came in, or the outcome of an external step.

    (app, topic, id) is unique. It counts for a run if it came when the run, or the one at the top of it, was there.
    """

    app: str
    topic: str
    id: str
    body: bytes
    at_us: int


@dataclass(slots=True)
class OutgoingEvent:
    """An event that a run or a handler emitted, on its way to the bus: the outbox.

    Attributes:
        owner: Which process publishes it, while it lives: the one that staged it; empty: nobody in particular.
        position: Given by the store; orders the outbox. 0 before it is stored.
    """

    id: str
    app: str
    origin: str
    seq: int
    message: bytes
    created_us: int
    owner: str = ""
    position: int = field(default=0, compare=False)


@dataclass(slots=True)
class QueuedDelivery:
    """One event on one subscriber's queue of the embedded bus, or among its dead letters.

    Attributes:
        seq: Given by the store; orders the queue. 0 before it is stored.
        headers: JSON: the rest of the envelope.
        due_us: Not to be delivered before.
        owner: Which process took it; empty: nobody.
        reason: Why it is a dead letter; empty: it is none.
        properties: Of a delivery that goes back to RabbitMQ, as marshalled for AMQP; None for the embedded bus.
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
    properties: bytes | None = None


@dataclass(slots=True)
class Receipt:
    """What is known of a delivery that is the broker's, beyond the life of the process that has it.

    (app, subscriber, source, event_name, event_id) is unique.

    Attributes:
        mark: What an event without an id is recognised by, which got this one from us; empty: it came with it.
        owner: Which process has it; empty: nobody, and it comes again for certain.
        starts: How often it was started and not seen to end, without the first one; -1: that one has ended, too.
        attempt: Which try comes next.
        due_us: Not to be started before.
    """

    app: str
    subscriber: str
    source: str
    event_name: str
    event_id: str
    mark: str = ""
    owner: str = ""
    starts: int = 0
    attempt: int = 1
    due_us: int = 0
    first_seen_us: int = 0
