"""What changes in a store: writes that are committed together, and what becomes of them.

Many commits share one transaction (group commit). A guard is a write that may affect no row; then nothing of its commit
is written, and the commit's outcome says why.
"""

from dataclasses import dataclass
from enum import StrEnum

from daemon.store.model import FiringRecord, OutgoingEvent, QueuedDelivery, RunRecord, StepRecord


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
