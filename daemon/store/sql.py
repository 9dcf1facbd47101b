"""What the stores on databases share: which statement a write becomes, and how a row becomes a record.

Statements are plain SQL with `?` for each value. A record's fields are its table's columns, by the same names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from daemon.store.model import (
    FiringRecord,
    FiringState,
    OutgoingEvent,
    QueuedDelivery,
    RunRecord,
    RunStatus,
    StepRecord,
    StepState,
)
from daemon.store.writes import (
    ClaimFiring,
    DropOutgoing,
    Enqueue,
    FenceRun,
    InsertRun,
    Outcome,
    PutGraph,
    PutStep,
    RecordHandled,
    ReopenRun,
    RequestCancel,
    RequireEnded,
    SettleDelivery,
    StageEvent,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)

Row = tuple[Any, ...]


def _columns(record: type, *, without: str = "") -> tuple[str, ...]:
    return tuple(each.name for each in fields(record) if each.name != without)


def _insert(table: str, columns: Sequence[str], on_conflict: str = "") -> str:
    marks = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {on_conflict}".rstrip()


def _assign(columns: Sequence[str]) -> str:
    return ", ".join(f"{column} = ?" for column in columns)


_RUN = _columns(RunRecord)
_STEP = _columns(StepRecord)
_DELIVERY = _columns(QueuedDelivery)
_NEW_DELIVERY = _columns(QueuedDelivery, without="seq")
_EVENT = _columns(OutgoingEvent)
_FIRING = _columns(FiringRecord)
_GRAPH = _columns(PutGraph)
_HANDLED = _columns(RecordHandled)

_RUN_CHANGES = (
    "status",
    "updated_us",
    "result",
    "errors",
    "ended_us",
    "wake_us",
    "waiting_for",
    "deadline_us",
)
_REOPENED = ("status", "owner", "updated_us", "errors", "ended_us")
_DELIVERY_CHANGES = ("attempt", "due_us", "owner", "deliveries", "reason", "error", "traceback", "dead_us")
_FIRING_CHANGES = ("state", "attempt", "ended_us", "error")

RUN_COLUMNS = ", ".join(_RUN)
STEP_COLUMNS = ", ".join(_STEP)
DELIVERY_COLUMNS = ", ".join(_DELIVERY)
EVENT_COLUMNS = ", ".join(_EVENT)
FIRING_COLUMNS = ", ".join(_FIRING)
UNENDED = "status IN ('running', 'waiting', 'compensating')"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a kind of write becomes.

    Attributes:
        sql: One statement, run once for each row.
        rows: Makes the rows of values of a write.
        refusal: What it means that a row affected nothing, for a guard; None for a write that is none.
        hints: Whether a write is something that other processes, or other parts of this one, wait for; None: never.
    """

    sql: str
    rows: Callable[[Any], Sequence[Row]]
    refusal: Outcome | None = None
    hints: Callable[[Any], bool] | None = None


def _one(*names: str) -> Callable[[Any], Sequence[Row]]:
    values = attrgetter(*names)
    return lambda write: (values(write),)


def _record(*names: str) -> Callable[[Any], Sequence[Row]]:
    values = attrgetter(*names)
    return lambda write: (values(write.record),)


def _delivery_update(write: UpdateDelivery) -> Sequence[Row]:
    return ((*_delivery_changes(write.record), write.record.seq, write.owner),)


def _is_nobodys(write: InsertRun | UpdateRun | ReopenRun) -> bool:
    return not write.record.owner


_delivery_changes = attrgetter(*_DELIVERY_CHANGES)
_new_delivery = attrgetter(*_NEW_DELIVERY)
_event = attrgetter(*_EVENT)

STATEMENTS: dict[type[Write], Statement] = {
    InsertRun: Statement(
        _insert("runs", _RUN, "ON CONFLICT DO NOTHING"), _record(*_RUN), Outcome.CONFLICT, _is_nobodys
    ),
    UpdateRun: Statement(
        f"UPDATE runs SET {_assign(_RUN_CHANGES)} WHERE key = ? AND owner = ?",
        _record(*_RUN_CHANGES, "key", "owner"),
        Outcome.FENCED,
        _is_nobodys,
    ),
    FenceRun: Statement("SELECT 1 FROM runs WHERE key = ? AND owner = ?", _one("key", "owner"), Outcome.FENCED),
    RequestCancel: Statement(
        f"UPDATE runs SET cancel_us = coalesce(cancel_us, ?) WHERE key = ? AND {UNENDED}",
        _one("at_us", "key"),
        Outcome.CONFLICT,
        lambda _: True,
    ),
    ReopenRun: Statement(
        f"UPDATE runs SET {_assign(_REOPENED)} WHERE key = ? AND status = 'failed' AND NOT EXISTS ("
        "SELECT 1 FROM runs AS later"
        " WHERE later.run_id = runs.run_id AND later.app = runs.app AND later.attempt > runs.attempt)",
        _record(*_REOPENED, "key"),
        Outcome.CONFLICT,
        _is_nobodys,
    ),
    RequireEnded: Statement(
        f"SELECT 1 FROM runs WHERE key = ? AND NOT ({UNENDED})", lambda write: ((write.key,),), Outcome.CONFLICT
    ),
    PutStep: Statement(
        _insert(
            "steps",
            _STEP,
            "ON CONFLICT (run_key, name) DO UPDATE SET "
            + ", ".join(f"{column} = excluded.{column}" for column in _STEP if column not in ("run_key", "name")),
        ),
        _record(*_STEP),
    ),
    PutGraph: Statement(_insert("graphs", _GRAPH, "ON CONFLICT DO NOTHING"), _one(*_GRAPH)),
    StageEvent: Statement(_insert("outbox", _EVENT, "ON CONFLICT DO NOTHING"), lambda write: (_event(write.event),)),
    DropOutgoing: Statement("DELETE FROM outbox WHERE id = ?", lambda write: [(id_,) for id_ in write.ids]),
    RecordHandled: Statement(_insert("handled", _HANDLED, "ON CONFLICT DO NOTHING"), _one(*_HANDLED), Outcome.CONFLICT),
    Enqueue: Statement(
        _insert("deliveries", _NEW_DELIVERY),
        lambda write: [_new_delivery(each) for each in write.deliveries],
        hints=lambda _: True,
    ),
    SettleDelivery: Statement(
        "DELETE FROM deliveries WHERE seq = ? AND owner = ?", _one("seq", "owner"), Outcome.FENCED
    ),
    UpdateDelivery: Statement(
        f"UPDATE deliveries SET {_assign(_DELIVERY_CHANGES)} WHERE seq = ? AND owner = ?",
        _delivery_update,
        Outcome.FENCED,
        lambda _: True,
    ),
    ClaimFiring: Statement(_insert("firings", _FIRING, "ON CONFLICT DO NOTHING"), _record(*_FIRING), Outcome.CONFLICT),
    UpdateFiring: Statement(
        f"UPDATE firings SET {_assign(_FIRING_CHANGES)} WHERE app = ? AND job = ? AND scheduled_us = ? AND owner = ?",
        _record(*_FIRING_CHANGES, "app", "job", "scheduled_us", "owner"),
        Outcome.FENCED,
    ),
}


def run_record(row: Row) -> RunRecord:
    """Make a run of a row of `RUN_COLUMNS`."""
    record = RunRecord(*row)
    record.status = RunStatus(record.status)
    return record


def step_record(row: Row) -> StepRecord:
    """Make a checkpoint of a row of `STEP_COLUMNS`."""
    record = StepRecord(*row)
    record.state = StepState(record.state)
    return record


def firing_record(row: Row) -> FiringRecord:
    """Make a firing of a row of `FIRING_COLUMNS`."""
    record = FiringRecord(*row)
    record.state = FiringState(record.state)
    return record


def delivery(row: Row) -> QueuedDelivery:
    """Make a delivery of a row of `DELIVERY_COLUMNS`."""
    return QueuedDelivery(*row)


def outgoing_event(row: Row) -> OutgoingEvent:
    """Make a staged event of a row of `EVENT_COLUMNS`."""
    return OutgoingEvent(*row)


def marks(values: Sequence[object]) -> str:
    """Return as many `?` as there are values, for an IN list."""
    return ", ".join("?" for _ in values)
