"""Which statement a write becomes on a database. Each is plain SQL with `?` for each value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord
from daemon.store.sql import (
    DELIVERY_CHANGES,
    FIRING_CHANGES,
    IS_QUEUED,
    LISTED,
    RUN_CHANGES,
    UNENDED,
    UNENDED_ROOT,
    UNENDED_RUNS,
    Row,
    columns,
    listed,
    marks,
)
from daemon.store.writes import (
    DropOutgoing,
    Enqueue,
    FenceRun,
    ForgetReceipt,
    GiveBack,
    InsertRun,
    Outcome,
    PutGraph,
    PutReceipt,
    PutSignal,
    PutStep,
    RecordHandled,
    ReleaseFiring,
    ReopenRun,
    RequestCancel,
    RequireAwaiting,
    RequireEnded,
    RequireNoSignal,
    SettleDelivery,
    StageEvent,
    TakePlace,
    UpdateChild,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)


def _insert(table: str, names: Sequence[str], on_conflict: str = "") -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks(names)}) {on_conflict}".rstrip()


def _upsert(table: str, names: Sequence[str], key: Sequence[str]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return _insert(table, names, f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}")


def _assign(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


_RUN = columns(RunRecord)
_STEP = columns(StepRecord)
_SIGNAL = columns(Signal)
_NEW_DELIVERY = columns(QueuedDelivery, without="seq")
_EVENT = columns(OutgoingEvent, without="position")
_GRAPH = columns(PutGraph)
_HANDLED = columns(RecordHandled)
_RECEIPT = columns(Receipt)
_RECEIPT_KEY = columns(ForgetReceipt)

_REOPENED = ("status", "owner", "epoch", "updated_us", "errors", "ended_us")
_FIRING_FENCE = ("app", "job", "scheduled_us", "owner", "epoch")
_ITS_FIRING = " AND ".join(f"{name} = ?" for name in _FIRING_FENCE)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a kind of write becomes.

    Attributes:
        sql: One statement, run once for each row.
        rows: Makes the rows of values of a write.
        refusal: What it means that a row affected nothing, for a guard; None for a write that is none.
        looks_back: Whether a guard looks at what is written in the end: whatever was submitted before it comes first.
        hints: Whether a write is something that other processes, or other parts of this one, wait for; None: never.
    """

    sql: str
    rows: Callable[[Any], Sequence[Row]]
    refusal: Outcome | None = None
    looks_back: bool = False
    hints: Callable[[Any], bool] | None = None


def _one(*names: str) -> Callable[[Any], Sequence[Row]]:
    values = attrgetter(*names)
    return lambda write: (values(write),)


def _record(*names: str) -> Callable[[Any], Sequence[Row]]:
    values = attrgetter(*names)
    return lambda write: (values(write.record),)


def _delivery_update(write: UpdateDelivery) -> Sequence[Row]:
    return ((*_delivery_changes(write.record), write.record.seq, write.owner),)


def _place(write: TakePlace) -> Sequence[Row]:
    return ((write.key, write.limit, write.app, write.app, write.app, write.workflow, write.limit),)


def _signal(write: PutSignal) -> Sequence[Row]:
    app, workflows = write.signal.app, listed(write.workflows)
    return ((*_signal_values(write.signal), workflows, app, app, app, workflows),)


def _is_nobodys(write: InsertRun | UpdateRun | ReopenRun) -> bool:
    return not write.record.owner and write.record.root_key is None


def _always(_: Write) -> bool:
    return True


_delivery_changes = attrgetter(*DELIVERY_CHANGES)
_new_delivery = attrgetter(*_NEW_DELIVERY)
_event = attrgetter(*_EVENT)
_signal_values = attrgetter(*_SIGNAL)

STATEMENTS: dict[type[Write], Statement] = {
    InsertRun: Statement(
        _insert("runs", _RUN, "ON CONFLICT DO NOTHING"), _record(*_RUN), Outcome.CONFLICT, hints=_is_nobodys
    ),
    UpdateRun: Statement(
        f"UPDATE runs SET {_assign(RUN_CHANGES)} WHERE key = ? AND owner = ? AND epoch = ?",
        _record(*RUN_CHANGES, "key", "owner", "epoch"),
        Outcome.FENCED,
        hints=lambda write: write.hint or _is_nobodys(write),
    ),
    UpdateChild: Statement(
        f"UPDATE runs SET {_assign(RUN_CHANGES)} WHERE key = ? AND root_key IS NOT NULL",
        _record(*RUN_CHANGES, "key"),
    ),
    FenceRun: Statement(
        "SELECT 1 FROM runs WHERE key = ? AND owner = ? AND epoch = ?",
        _one("key", "owner", "epoch"),
        Outcome.FENCED,
    ),
    GiveBack: Statement(
        "UPDATE runs SET owner = '', epoch = epoch - 1 WHERE key = ? AND owner = ? AND epoch = ?",
        _record("key", "owner", "epoch"),
        Outcome.FENCED,
    ),
    RequestCancel: Statement(
        f"UPDATE runs SET cancel_us = coalesce(cancel_us, ?) WHERE key = ? AND {UNENDED_ROOT}",
        _one("at_us", "key"),
        Outcome.CONFLICT,
        hints=_always,
    ),
    ReopenRun: Statement(
        f"UPDATE runs SET {_assign(_REOPENED)} WHERE key = ? AND status = 'failed' AND NOT EXISTS ("
        "SELECT 1 FROM runs AS later"
        " WHERE later.run_id = runs.run_id AND later.app = runs.app AND later.attempt > runs.attempt)",
        _record(*_REOPENED, "key"),
        Outcome.CONFLICT,
        hints=_is_nobodys,
    ),
    RequireEnded: Statement(
        f"SELECT 1 FROM runs WHERE key = ? AND NOT ({UNENDED})",
        lambda write: ((write.key,),),
        Outcome.CONFLICT,
        looks_back=True,
    ),
    TakePlace: Statement(
        f"UPDATE runs SET status = 'running', waiting_for = '' WHERE key = ? AND status = 'waiting' AND {IS_QUEUED}"
        f" AND ? > (SELECT count(*) FROM (SELECT 1 FROM {UNENDED_RUNS} AND workflow = ? AND {IS_QUEUED} = 0 LIMIT ?))",
        _place,
        Outcome.CONFLICT,
    ),
    RequireAwaiting: Statement(
        "SELECT 1 FROM steps WHERE run_key = ? AND name = ? AND state = 'waiting' AND awaits = ?",
        _one("run_key", "step", "topic"),
        Outcome.CONFLICT,
        looks_back=True,
    ),
    RequireNoSignal: Statement(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM signals WHERE app = ? AND topic = ? AND at_us >= ?)",
        _one("app", "topic", "since_us"),
        Outcome.CONFLICT,
        looks_back=True,
    ),
    PutSignal: Statement(
        f"INSERT INTO signals ({', '.join(_SIGNAL)}) SELECT {marks(_SIGNAL)}"
        f" WHERE ? = '[]' OR EXISTS (SELECT 1 FROM {UNENDED_RUNS} AND workflow IN {LISTED}) ON CONFLICT DO NOTHING",
        _signal,
        hints=_always,
    ),
    PutStep: Statement(_upsert("steps", _STEP, ("run_key", "name")), _record(*_STEP)),
    PutGraph: Statement(_insert("graphs", _GRAPH, "ON CONFLICT DO NOTHING"), _one(*_GRAPH)),
    StageEvent: Statement(_insert("outbox", _EVENT, "ON CONFLICT DO NOTHING"), lambda write: (_event(write.event),)),
    DropOutgoing: Statement("DELETE FROM outbox WHERE id = ?", lambda write: [(id_,) for id_ in write.ids]),
    RecordHandled: Statement(_insert("handled", _HANDLED, "ON CONFLICT DO NOTHING"), _one(*_HANDLED), Outcome.CONFLICT),
    PutReceipt: Statement(_upsert("receipts", _RECEIPT, _RECEIPT_KEY), _record(*_RECEIPT)),
    ForgetReceipt: Statement(
        f"DELETE FROM receipts WHERE {' AND '.join(f'{name} = ?' for name in _RECEIPT_KEY)}", _one(*_RECEIPT_KEY)
    ),
    Enqueue: Statement(
        _insert("deliveries", _NEW_DELIVERY),
        lambda write: [_new_delivery(each) for each in write.deliveries],
        hints=_always,
    ),
    SettleDelivery: Statement(
        "DELETE FROM deliveries WHERE seq = ? AND owner = ?", _one("seq", "owner"), Outcome.FENCED
    ),
    UpdateDelivery: Statement(
        f"UPDATE deliveries SET {_assign(DELIVERY_CHANGES)} WHERE seq = ? AND owner = ?",
        _delivery_update,
        Outcome.FENCED,
        hints=_always,
    ),
    UpdateFiring: Statement(
        f"UPDATE firings SET {_assign(FIRING_CHANGES)} WHERE {_ITS_FIRING}",
        _record(*FIRING_CHANGES, *_FIRING_FENCE),
        Outcome.FENCED,
        hints=attrgetter("hint"),
    ),
    ReleaseFiring: Statement(
        f"UPDATE firings SET owner = '' WHERE {_ITS_FIRING}",
        _record(*_FIRING_FENCE),
        Outcome.FENCED,
        hints=_always,
    ),
}
