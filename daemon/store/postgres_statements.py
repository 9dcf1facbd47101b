"""What writes become on PostgreSQL: one statement for all the rows that a batch has of a kind.

Values go in as one array for each column (`unnest`), so that a statement is the same however many rows there are. A
record's fields are its table's columns, by the same names. Statements are kept as texts with two places: `{given}` are
the rows, and `{when}` is whether they are written.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, get_args, get_type_hints

from daemon.store.job_model import FiringRecord
from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord
from daemon.store.sql import DELIVERY_CHANGES, FIRING_CHANGES, RUN_CHANGES, UNENDED_ROOT, Row, columns, listed
from daemon.store.writes import (
    DropOutgoing,
    Enqueue,
    ForgetReceipt,
    GiveBack,
    InsertRun,
    PutGraph,
    PutReceipt,
    PutSignal,
    PutStep,
    RecordHandled,
    ReleaseFiring,
    SettleDelivery,
    StageEvent,
    UpdateChild,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)

_FIRING_KEY = ("app", "job", "scheduled_us")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the rows that a statement is given, and their types."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    def given(self, first: int = 1) -> str:
        """Return the rows of a statement: an array for each column, the first of which is value `first` of it."""
        arrays = ", ".join(f"${at}::{of}[]" for at, of in enumerate(self.types, first))
        return f"unnest({arrays}) AS given({', '.join(self.names)})"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a kind of write becomes that always succeeds, or whose guard was asked before.

    Attributes:
        text: One statement for any number of rows.
        columns: What a row has.
        rows: Makes the rows of values of a write.
        identity: Tells rows apart of which only the last one counts; None: all of them do.
    """

    text: str
    columns: Columns
    rows: Callable[[Any], Sequence[Row]]
    identity: Callable[[Row], Hashable] | None = None

    @property
    def sql(self) -> str:
        """The statement alone."""
        return self.text.format(given=self.columns.given(), when="true")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a guard becomes that is refused if a row is there already.

    Attributes:
        table: What it inserts into.
        text: One statement for any number of rows, which fails if one of them is there.
        columns: What a row has.
        row: Makes the row of values of a write.
        returned: The columns that the statement `sql` returns of rows that were not there.
        unique: Those of which no two rows have the same values.
        identity: What is returned of a row.
    """

    table: str
    text: str
    columns: Columns
    row: Callable[[Any], Row]
    returned: tuple[str, ...]
    unique: tuple[str, ...]
    identity: Callable[[Row], Row]

    @property
    def sql(self) -> str:
        """The statement alone, which inserts what is not there."""
        text = self.text.format(given=self.columns.given(), when="true")
        return f"{text} ON CONFLICT DO NOTHING RETURNING {', '.join(self.returned)}"


def _types(record: type) -> dict[str, str]:
    """Return the types of a record's columns."""
    return {name: _type(hint) for name, hint in get_type_hints(record).items()}


def _type(hint: Any) -> str:
    kinds = [each for each in (hint, *get_args(hint)) if isinstance(each, type)]
    return next((name for of, name in ((int, "bigint"), (bytes, "bytea")) if of in kinds), "text")


def _columns(record: type, names: Sequence[str], **more: str) -> Columns:
    types = _types(record)
    return Columns((*names, *more), (*(types[name] for name in names), *more.values()))


def _insert(table: str, names: Sequence[str], on_conflict: str = "ON CONFLICT DO NOTHING") -> str:
    listed_names = ", ".join(names)
    return f"INSERT INTO {table} ({listed_names}) SELECT {listed_names} FROM {{given}} WHERE {{when}} {on_conflict}"


def _upsert(table: str, names: Sequence[str], key: Sequence[str]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return _insert(table, names, f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}")


def _update(table: str, names: Sequence[str], by: Sequence[str], also: str = "") -> str:
    changes = ", ".join(f"{name} = given.{name}" for name in names)
    return f"UPDATE {table} SET {changes} FROM {{given}} WHERE {_same(table, by)}{also} AND {{when}}"


def _same(table: str, names: Sequence[str]) -> str:
    return " AND ".join(f"{table}.{name} = given.{name}" for name in names)


def _at(names: Sequence[str], *wanted: str) -> Callable[[Row], Row]:
    places = [names.index(name) for name in wanted]
    return lambda row: tuple(row[place] for place in places)


def _claim(
    table: str, record: type, row: Callable[[Any], Row], by: tuple[str, ...], unique: tuple[str, ...] = ()
) -> Claim:
    names = columns(record)
    text = _insert(table, names, "").rstrip()
    return Claim(table, text, _columns(record, names), row, by, unique or by, _at(names, *by))


def insertion(table: str, record: type, names: Sequence[str]) -> str:
    """Return a statement that inserts any number of rows, given by an array for each column."""
    return _insert(table, names, "").format(given=_columns(record, names).given(), when="true").rstrip()


def upsertion(table: str, record: type, names: Sequence[str], key: Sequence[str]) -> str:
    """Return one that replaces those that are there."""
    return _upsert(table, names, key).format(given=_columns(record, names).given(), when="true")


def keyed(table: str, record: type, names: Sequence[str], key: Sequence[str]) -> str:
    """Return one that changes columns of rows by their keys, whose columns come last."""
    return _update(table, names, key).format(given=_columns(record, (*names, *key)).given(), when="true")


def _of_record(*names: str) -> Callable[[Any], Sequence[Row]]:
    values = attrgetter(*names)
    return lambda write: (values(write.record),)


_RUN = columns(RunRecord)
_STEP = columns(StepRecord)
_SIGNAL = columns(Signal)
_NEW_DELIVERY = columns(QueuedDelivery, without="seq")
_EVENT = columns(OutgoingEvent, without="position")
_GRAPH = columns(PutGraph)
_HANDLED = columns(RecordHandled)
_RECEIPT = columns(Receipt)
_RECEIPT_KEY = columns(ForgetReceipt)
_receipt_key = attrgetter(*_RECEIPT_KEY)
_run_values = attrgetter(*_RUN)
_delivery_values, _delivery_changes = attrgetter(*_NEW_DELIVERY), attrgetter(*DELIVERY_CHANGES, "seq")
_event_values, _signal_values, _graph_values = attrgetter(*_EVENT), attrgetter(*_SIGNAL), attrgetter(*_GRAPH)

_PUT_SIGNAL = f"""
    INSERT INTO signals ({", ".join(_SIGNAL)}) SELECT {", ".join(_SIGNAL)} FROM (
        SELECT *, row_number() OVER () AS line FROM {{given}}
    ) AS given
    WHERE {{when}} AND (workflows = '[]' OR EXISTS (
        SELECT 1 FROM runs WHERE runs.app = given.app AND {UNENDED_ROOT}
            AND workflow IN (SELECT json_array_elements_text(given.workflows::json))))
    ORDER BY line ON CONFLICT DO NOTHING"""

CLAIMS: dict[type[Write], Claim] = {
    InsertRun: _claim(
        "runs", RunRecord, lambda write: _run_values(write.record), ("key",), ("run_id", "app", "attempt")
    ),
    RecordHandled: _claim(
        "handled",
        RecordHandled,
        attrgetter(*_HANDLED),
        ("app", "subscriber", "source", "event_name", "event_id"),
    ),
}

# In the order in which they are applied: what a signal wants to know of runs comes before these change.
EFFECTS: dict[type[Write], Effect] = {
    PutSignal: Effect(
        _PUT_SIGNAL,
        _columns(Signal, _SIGNAL, workflows="text"),
        lambda write: ((*_signal_values(write.signal), listed(write.workflows)),),
    ),
    UpdateRun: Effect(
        _update("runs", RUN_CHANGES, ("key",)),
        _columns(RunRecord, (*RUN_CHANGES, "key")),
        _of_record(*RUN_CHANGES, "key"),
        lambda row: row[-1],
    ),
    GiveBack: Effect(
        "UPDATE runs SET owner = '', epoch = epoch - 1 FROM {given} WHERE runs.key = given.key AND {when}",
        _columns(RunRecord, ("key",)),
        lambda write: ((write.record.key,),),
    ),
    UpdateChild: Effect(
        _update("runs", RUN_CHANGES, ("key",), " AND runs.root_key IS NOT NULL"),
        _columns(RunRecord, (*RUN_CHANGES, "key")),
        _of_record(*RUN_CHANGES, "key"),
        lambda row: row[-1],
    ),
    PutStep: Effect(
        _upsert("steps", _STEP, ("run_key", "name")),
        _columns(StepRecord, _STEP),
        _of_record(*_STEP),
        _at(_STEP, "run_key", "name"),
    ),
    PutGraph: Effect(_insert("graphs", _GRAPH), _columns(PutGraph, _GRAPH), lambda write: (_graph_values(write),)),
    StageEvent: Effect(
        _insert("outbox", _EVENT), _columns(OutgoingEvent, _EVENT), lambda write: (_event_values(write.event),)
    ),
    DropOutgoing: Effect(
        "DELETE FROM outbox USING {given} WHERE outbox.id = given.id AND {when}",
        _columns(OutgoingEvent, ("id",)),
        lambda write: [(id_,) for id_ in write.ids],
    ),
    ForgetReceipt: Effect(
        f"DELETE FROM receipts USING {{given}} WHERE {_same('receipts', _RECEIPT_KEY)} AND {{when}}",
        _columns(Receipt, _RECEIPT_KEY),
        lambda write: (_receipt_key(write),),
    ),
    PutReceipt: Effect(
        _upsert("receipts", _RECEIPT, _RECEIPT_KEY),
        _columns(Receipt, _RECEIPT),
        _of_record(*_RECEIPT),
        _at(_RECEIPT, *_RECEIPT_KEY),
    ),
    Enqueue: Effect(
        _insert("deliveries", _NEW_DELIVERY),
        _columns(QueuedDelivery, _NEW_DELIVERY),
        lambda write: [_delivery_values(each) for each in write.deliveries],
    ),
    SettleDelivery: Effect(
        "DELETE FROM deliveries USING {given} WHERE deliveries.seq = given.seq AND {when}",
        _columns(QueuedDelivery, ("seq",)),
        lambda write: ((write.seq,),),
    ),
    UpdateDelivery: Effect(
        _update("deliveries", DELIVERY_CHANGES, ("seq",)),
        _columns(QueuedDelivery, (*DELIVERY_CHANGES, "seq")),
        lambda write: (_delivery_changes(write.record),),
    ),
    UpdateFiring: Effect(
        _update("firings", FIRING_CHANGES, _FIRING_KEY),
        _columns(FiringRecord, (*FIRING_CHANGES, *_FIRING_KEY)),
        _of_record(*FIRING_CHANGES, *_FIRING_KEY),
        lambda row: row[-3:],
    ),
    ReleaseFiring: Effect(
        f"UPDATE firings SET owner = '' FROM {{given}} WHERE {_same('firings', _FIRING_KEY)} AND {{when}}",
        _columns(FiringRecord, _FIRING_KEY),
        _of_record(*_FIRING_KEY),
    ),
}
