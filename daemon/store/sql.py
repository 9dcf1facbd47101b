"""What the stores on databases share: how a row becomes a record, and what conditions say.

Statements are plain SQL with `?` for each value. A record's fields are its table's columns, by the same names. A list
is passed as one value, JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from daemon.store.job_model import FiringRecord, FiringState, JobAction, JobOrder, JobRecord
from daemon.store.model import (
    QUEUED,
    OutgoingEvent,
    QueuedDelivery,
    Receipt,
    RunRecord,
    RunStatus,
    Signal,
    StepRecord,
    StepState,
)

Row = tuple[Any, ...]


def columns(record: type, *, without: str = "") -> tuple[str, ...]:
    """Return the columns of a record's table."""
    return tuple(each.name for each in fields(record) if each.name != without)


RUN_COLUMNS = ", ".join(columns(RunRecord))
STEP_COLUMNS = ", ".join(columns(StepRecord))
SIGNAL_COLUMNS = ", ".join(columns(Signal))
DELIVERY_COLUMNS = ", ".join(columns(QueuedDelivery))
EVENT_COLUMNS = ", ".join(columns(OutgoingEvent))
RECEIPT_COLUMNS = ", ".join(columns(Receipt))
FIRING_COLUMNS = ", ".join(columns(FiringRecord))
JOB_COLUMNS = ", ".join(columns(JobRecord))
ORDER_COLUMNS = ", ".join(columns(JobOrder))

# What a write may change of a row.
RUN_CHANGES = (
    "status",
    "updated_us",
    "result",
    "errors",
    "ended_us",
    "wake_us",
    "waiting_for",
    "deadline_us",
)
DELIVERY_CHANGES = ("attempt", "due_us", "owner", "deliveries", "reason", "error", "traceback", "dead_us")
FIRING_CHANGES = ("state", "attempt", "ended_us", "error", "due_us", "failures")
LATEST = 2**63 - 1  # of positions and times

# In the words of the partial indexes, which serve a query that says the same.
UNENDED = "status IN ('running', 'waiting', 'compensating')"
UNENDED_ROOT = f"root_key IS NULL AND {UNENDED}"
IS_QUEUED = f"(waiting_for = '{QUEUED}')"
# Of a firing.
OPEN = "state IN ('waiting', 'running')"
LISTED = "(SELECT value FROM json_each(?))"

# What changes of a firing that is taken over.
TAKEN_OVER = """attempt = attempt + CASE WHEN state = 'running' AND due_us IS NULL THEN 1 ELSE 0 END,
    epoch = epoch + CASE owner WHEN '' THEN 0 ELSE 1 END"""

# The distinct owners of a few million rows, by one look into the index for each owner instead of for each row.
RUN_OWNERS = f"""
    WITH RECURSIVE each(owner) AS (
        SELECT min(owner) FROM runs WHERE app = ? AND {UNENDED_ROOT}
        UNION ALL
        SELECT (SELECT min(owner) FROM runs WHERE app = ? AND {UNENDED_ROOT} AND owner > each.owner)
        FROM each WHERE each.owner IS NOT NULL
    )
    SELECT owner FROM each WHERE owner IS NOT NULL"""
# As the owners: the workflows of all apps.
WORKFLOWS = """
    WITH RECURSIVE each(workflow) AS (
        SELECT min(workflow) FROM runs
        UNION ALL
        SELECT (SELECT min(workflow) FROM runs WHERE workflow > each.workflow)
        FROM each WHERE each.workflow IS NOT NULL
    )
    SELECT workflow FROM each WHERE workflow IS NOT NULL"""
# Of whichever owner: the unended runs of an app (which is asked for three times) that are at the top; it goes on.
UNENDED_RUNS = f"""({RUN_OWNERS}) AS owners CROSS JOIN runs INDEXED BY runs_unended
    WHERE app = ? AND runs.owner = owners.owner AND {UNENDED_ROOT}"""
# Of the workflows that are listed, or of all for NULL.
OLDEST_RUN = f"""
    SELECT created_us FROM runs WHERE key = (
        SELECT min((
            SELECT key FROM runs INDEXED BY runs_unended
            WHERE app = ? AND owner = owners.owner AND workflow = asked.value AND {IS_QUEUED} = queued.value
                AND {UNENDED_ROOT} ORDER BY key LIMIT 1
        ))
        FROM ({RUN_OWNERS}) AS owners
        CROSS JOIN json_each(coalesce(?, (SELECT json_group_array(workflow) FROM ({WORKFLOWS})))) AS asked
        CROSS JOIN (SELECT 0 AS value UNION ALL SELECT 1) AS queued
    )"""

# The unended runs of an app, of other workflows than those that are listed.
UNKNOWN = f"""
    SELECT workflow, count(*) FROM runs INDEXED BY runs_unended
    WHERE app = ? AND {UNENDED_ROOT} AND workflow NOT IN {LISTED} GROUP BY workflow ORDER BY workflow"""

# The runs of an owner for which a signal came: found from the latest signals, or, all of them, from all that wait.
# (The planner is told where to begin: it believes that of every app there are few signals.)
_AWAITING = "steps.state = 'waiting' AND steps.awaits <> ''"
_ITS_ROOT = """
        CROSS JOIN runs AS its ON its.key = steps.run_key
        CROSS JOIN runs AS root ON root.key = coalesce(its.root_key, its.key)"""
_WANTED_ROOT = f"root.app = ? AND root.owner = ? AND root.{UNENDED}"
_ITS_SIGNAL = "signals.app = root.app AND signals.at_us >= root.created_us AND signals.position > ?"
SIGNALLED_LATELY = f"""
    SELECT {RUN_COLUMNS} FROM runs WHERE key IN (
        SELECT root.key FROM signals NOT INDEXED
        CROSS JOIN steps INDEXED BY steps_awaiting ON {_AWAITING} AND steps.awaits = signals.topic {_ITS_ROOT}
        WHERE {_WANTED_ROOT} AND {_ITS_SIGNAL}
    ) ORDER BY key"""
SIGNALLED = f"""
    SELECT {RUN_COLUMNS} FROM runs WHERE key IN (
        SELECT root.key FROM steps INDEXED BY steps_awaiting {_ITS_ROOT}
        WHERE {_AWAITING} AND EXISTS (SELECT 1 FROM signals WHERE topic = steps.awaits AND app = ?)
            AND {_WANTED_ROOT} AND EXISTS (SELECT 1 FROM signals WHERE topic = steps.awaits AND {_ITS_SIGNAL})
    ) ORDER BY key"""

# The staged events of all owners, and those of one process that no other one's of the same origin come before: these
# are few, so that it is asked of each by itself.
OUTGOING = f"SELECT {EVENT_COLUMNS} FROM outbox WHERE app = ? AND position > ? ORDER BY position LIMIT ?"
OWN_OUTGOING = f"""
    SELECT {EVENT_COLUMNS} FROM outbox INDEXED BY outbox_by_owner
    WHERE app = ? AND owner = ? AND position > ? AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier INDEXED BY outbox_by_origin
        WHERE earlier.origin = outbox.origin AND earlier.app = outbox.app AND earlier.seq < outbox.seq
            AND earlier.owner <> outbox.owner)
    ORDER BY position LIMIT ?"""

# Those of many keys, which are passed as JSON, of events that are handled.
HANDLED = """
    SELECT asked.key, handled.body_hash FROM json_each(?) AS asked CROSS JOIN handled
    WHERE handled.app = asked.value ->> 0 AND handled.subscriber = asked.value ->> 1
      AND handled.source = asked.value ->> 2 AND handled.event_name = asked.value ->> 3
      AND handled.event_id = asked.value ->> 4"""

# The latest of each job that is listed.
JOBS = f"SELECT {JOB_COLUMNS} FROM jobs WHERE app = ? AND job IN {LISTED}"

LAST_FIRINGS = f"""
    SELECT {", ".join(f"firings.{name}" for name in columns(FiringRecord))} FROM json_each(?) AS asked
    CROSS JOIN firings ON firings.app = ? AND firings.job = asked.value AND firings.scheduled_us = (
        SELECT max(scheduled_us) FROM firings AS its WHERE its.app = ? AND its.job = asked.value)"""

RECEIPT = f"""
    SELECT {RECEIPT_COLUMNS} FROM receipts
    WHERE app = ? AND subscriber = ? AND source = ? AND event_name = ? AND event_id = ?"""

# Of a row of receipts: its subscriber is not done with the event.
UNHANDLED = """NOT EXISTS (
        SELECT 1 FROM handled WHERE handled.app = receipts.app AND handled.subscriber = receipts.subscriber
            AND handled.source = receipts.source AND handled.event_name = receipts.event_name
            AND handled.event_id = receipts.event_id)"""


_STEP_STATES = {state.value: state for state in StepState}  # to call the type takes ten times as long


def run_record(row: Row) -> RunRecord:
    """Make a run of a row of `RUN_COLUMNS`."""
    record = RunRecord(*row)
    record.status = RunStatus(record.status)
    return record


def step_record(row: Row) -> StepRecord:
    """Make a checkpoint of a row of `STEP_COLUMNS`."""
    record = StepRecord(*row)
    record.state = _STEP_STATES[record.state]
    return record


def by_run(keys: Sequence[str], rows: Sequence[Row]) -> dict[str, list[StepRecord]]:
    """Return the checkpoints of runs by the keys of these, each run's in the order of `seq`."""
    found: dict[str, list[StepRecord]] = {key: [] for key in keys}
    for record in sorted(map(step_record, rows), key=attrgetter("seq")):
        found[record.run_key].append(record)
    return found


def firing_record(row: Row) -> FiringRecord:
    """Make a firing of a row of `FIRING_COLUMNS`."""
    record = FiringRecord(*row)
    record.state = FiringState(record.state)
    return record


def job_record(row: Row) -> JobRecord:
    """Make a job of a row of `JOB_COLUMNS`."""
    return JobRecord(*row)


def job_order(row: Row) -> JobOrder:
    """Make an order of a row of `ORDER_COLUMNS`."""
    app, job, action, *rest = row
    return JobOrder(app, job, JobAction(action), *rest)


def signal(row: Row) -> Signal:
    """Make a signal of a row of `SIGNAL_COLUMNS`."""
    return Signal(*row)


def delivery(row: Row) -> QueuedDelivery:
    """Make a delivery of a row of `DELIVERY_COLUMNS`."""
    return QueuedDelivery(*row)


def receipt(row: Row) -> Receipt:
    """Make a receipt of a row of `RECEIPT_COLUMNS`."""
    return Receipt(*row)


def outgoing_event(row: Row) -> OutgoingEvent:
    """Make a staged event of a row of `EVENT_COLUMNS`."""
    return OutgoingEvent(*row)


def listed(values: Sequence[str]) -> str:
    """Return the value for `LISTED`."""
    return json.dumps(list(values))


def marks(values: Sequence[object]) -> str:
    """Return as many `?` as there are values, for an IN list."""
    return ", ".join("?" for _ in values)
