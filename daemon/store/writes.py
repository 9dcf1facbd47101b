"""What changes in a store: writes that are committed together, and what becomes of them.

Many commits share one transaction (group commit). A guard is a write that may affect no row; then nothing of its commit
is written, and the commit's outcome says why.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum

from daemon.store.job_model import FiringRecord
from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord


@dataclass(slots=True)
class InsertRun:
    """Guard: start a run. CONFLICT if (app, run_id, attempt) is there already."""

    record: RunRecord


@dataclass(slots=True)
class UpdateRun:
    """Guard: replace what may change in a run's row. FENCED unless its owner and epoch are still the record's.

    `hint`: others may wait for it, since a place became free.
    """

    record: RunRecord
    hint: bool = False


@dataclass(slots=True)
class UpdateChild:
    """Replace what may change in a child's row. Its commit has a guard for the run at the top."""

    record: RunRecord


@dataclass(slots=True)
class FenceRun:
    """Guard: write nothing to the run's row. FENCED unless its owner is still `owner`, and its epoch `epoch`."""

    key: str
    owner: str
    epoch: int = 0


@dataclass(slots=True)
class GiveBack:
    """Guard: have a run be as it was before it was claimed: nobody's, and its epoch lowered by 1.

    FENCED unless its owner and epoch are still the record's. Only if nothing was written of it since it was claimed.
    """

    record: RunRecord


@dataclass(slots=True)
class RequestCancel:
    """Guard: note that a run is to be cancelled, whoever owns it.

    CONFLICT if it has ended, is not there, or is a child: the run at the top is cancelled, and its children with it.
    """

    key: str
    at_us: int


@dataclass(slots=True)
class ReopenRun:
    """Guard: write a run's status, owner, epoch, errors and end. CONFLICT unless it is `failed`, its latest attempt.

    Whoever reopens it raises the epoch by 1.
    """

    record: RunRecord


@dataclass(slots=True)
class RequireEnded:
    """Guard: write nothing to the run's row. CONFLICT unless it has ended."""

    key: str


@dataclass(slots=True)
class TakePlace:
    """Guard: have a queued run (`waiting`, for `QUEUED`) go on: it becomes `running`.

    CONFLICT if it is not queued any more, or unless fewer than `limit` unended runs of the workflow that are at the
    top are not queued. Of runs that ask at the same time, no more get a place than there are.
    """

    key: str
    app: str
    workflow: str
    limit: int


@dataclass(slots=True)
class RequireAwaiting:
    """Guard: write nothing to the checkpoint. CONFLICT unless it is `waiting`, and awaits this topic."""

    run_key: str
    step: str
    topic: str


@dataclass(slots=True)
class RequireNoSignal:
    """Guard: write nothing. CONFLICT if a signal of this topic came at or after `since_us`."""

    app: str
    topic: str
    since_us: int


@dataclass(slots=True)
class PutSignal:
    """Keep a signal; does nothing if it is there.

    `workflows`: nor unless one of them has an unended run that is at the top: whatever starts later does not want it.
    """

    signal: Signal
    workflows: tuple[str, ...] = ()


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
    """Guard: note that a subscriber is done with an event. CONFLICT if that is noted already.

    `body_hash`: of the body that it had; empty if nobody is ever to compare it.
    """

    app: str
    subscriber: str
    source: str
    event_name: str
    event_id: str
    handled_us: int
    body_hash: bytes = b""


@dataclass(slots=True)
class PutReceipt:
    """Keep what is known of a broker's delivery, in place of what was known before."""

    record: Receipt


@dataclass(slots=True)
class ForgetReceipt:
    """Forget what was known of a broker's delivery; does nothing if there is nothing.

    Whoever puts and forgets the same one awaits the first before submitting the other.
    """

    app: str
    subscriber: str
    source: str
    event_name: str
    event_id: str


@dataclass(slots=True)
class Enqueue:
    """Put deliveries on queues in the store."""

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
class UpdateFiring:
    """Guard: write back state, attempt, end, error, due time and failures. FENCED unless owner and epoch are the row's.

    `hint`: others may wait for it, since what queues behind it may begin.
    """

    record: FiringRecord
    hint: bool = False


@dataclass(slots=True)
class ReleaseFiring:
    """Guard: have a firing that runs or waits be nobody's, and hint at it. FENCED as above."""

    record: FiringRecord


Write = (
    InsertRun
    | UpdateRun
    | UpdateChild
    | FenceRun
    | GiveBack
    | RequestCancel
    | ReopenRun
    | RequireEnded
    | TakePlace
    | RequireAwaiting
    | RequireNoSignal
    | PutSignal
    | PutStep
    | PutGraph
    | StageEvent
    | DropOutgoing
    | RecordHandled
    | PutReceipt
    | ForgetReceipt
    | Enqueue
    | SettleDelivery
    | UpdateDelivery
    | UpdateFiring
    | ReleaseFiring
)


class Outcome(StrEnum):
    """What became of a commit; nothing of it was written unless it is APPLIED."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    FENCED = "fenced"


class Known:
    """An outcome that is known already; awaiting it costs no future and no turn of the loop.

    Attributes:
        outcome: For whoever would not even await it.
    """

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def __await__(self) -> Generator[None, None, Outcome]:
        return self.outcome
        yield  # type: ignore[unreachable] # what makes this a generator
