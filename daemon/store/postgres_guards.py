"""What guards ask on PostgreSQL.

Three kinds of them. *Locks* want a row to be as they say: it is locked, so that it stays so until the commit. *Claims*
want a row not to be there, and insert it. Both are asked for a whole batch at a time. *Others* look at more than one
row; they are rare, and asked one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from daemon.store.postgres_statements import Columns
from daemon.store.sql import IS_QUEUED, UNENDED, UNENDED_ROOT, Row
from daemon.store.writes import (
    FenceRun,
    GiveBack,
    ReleaseFiring,
    ReopenRun,
    RequestCancel,
    RequireAwaiting,
    RequireEnded,
    RequireNoSignal,
    SettleDelivery,
    TakePlace,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)

# A guard's rows are locked in the order of their keys, so that two processes do not wait for each other. It is no key
# that changes: whoever inserts a row that refers to a locked one is not held up.
LOCK_RUNS = "SELECT key, owner, epoch FROM runs WHERE key = ANY($1::text[]) ORDER BY key FOR NO KEY UPDATE"
LOCK_DELIVERIES = "SELECT seq, owner FROM deliveries WHERE seq = ANY($1::bigint[]) ORDER BY seq FOR UPDATE"
LOCK_FIRINGS = """
    SELECT app, job, scheduled_us, owner, epoch FROM firings
    WHERE (app, job, scheduled_us) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]))
    ORDER BY app, job, scheduled_us FOR NO KEY UPDATE"""


@dataclass(frozen=True, slots=True)
class Held:
    """How to lock only those rows that hold what they should, as a part of a statement.

    Attributes:
        text: With `{given}` for the keys and what the rows should hold, and `{when}` for whether to look at all.
        columns: What is given of a row.
    """

    text: str
    columns: Columns


def _held(table: str, key: dict[str, str], wants: dict[str, str], how: str) -> Held:
    found = Columns((*key, *wants), (*key.values(), *wants.values()))
    using, order = ", ".join(found.names), ", ".join(key)
    return Held(
        f"SELECT 1 FROM {{given}} JOIN {table} USING ({using}) WHERE {{when}} ORDER BY {order} {how} OF {table}", found
    )


# By the statement that locks the same rows whatever they hold.
HELD = {
    LOCK_RUNS: _held("runs", {"key": "text"}, {"owner": "text", "epoch": "bigint"}, "FOR NO KEY UPDATE"),
    LOCK_DELIVERIES: _held("deliveries", {"seq": "bigint"}, {"owner": "text"}, "FOR UPDATE"),
    LOCK_FIRINGS: _held(
        "firings",
        {"app": "text", "job": "text", "scheduled_us": "bigint"},
        {"owner": "text", "epoch": "bigint"},
        "FOR NO KEY UPDATE",
    ),
}


@dataclass(frozen=True, slots=True)
class Lock:
    """A guard that wants a row to be as it says; else the commit is FENCED.

    Attributes:
        sql: Locks rows, by one array for each column of the key, and returns their keys, and then what they hold.
        key: The key of the row that a write wants.
        wants: What it has to hold.
        changes: Whether what it holds may be another afterwards.
    """

    sql: str
    key: Callable[[Any], Row]
    wants: Callable[[Any], Row]
    changes: bool


@dataclass(frozen=True, slots=True)
class Other:
    """A guard that is asked alone.

    Attributes:
        sql: Finds or changes a row, else the guard refuses.
        row: The values for it.
        first: A statement before that, with its values: it locks what the guard looks at, so that what it says is
            still true when the batch is committed. In a statement of its own, since one sees only what was committed
            when it began.
        writes: Whether it changes anything.
    """

    sql: str
    row: Callable[[Any], Row]
    first: Callable[[Any], tuple[str, Row]] | None = None
    writes: bool = False


def mutex(*names: str) -> tuple[str, Row]:
    """Return a statement that lets only one transaction at a time go on with these names."""
    return "SELECT pg_advisory_xact_lock(hashtextextended(current_setting('search_path') || $1, 0))", (repr(names),)


LOCKS: dict[type[Write], Lock] = {
    FenceRun: Lock(LOCK_RUNS, lambda write: (write.key,), attrgetter("owner", "epoch"), changes=False),
    UpdateRun: Lock(
        LOCK_RUNS,
        lambda write: (write.record.key,),
        attrgetter("record.owner", "record.epoch"),
        changes=False,
    ),
    GiveBack: Lock(
        LOCK_RUNS,
        lambda write: (write.record.key,),
        attrgetter("record.owner", "record.epoch"),
        changes=True,
    ),
    SettleDelivery: Lock(LOCK_DELIVERIES, lambda write: (write.seq,), lambda write: (write.owner,), changes=True),
    UpdateDelivery: Lock(
        LOCK_DELIVERIES, lambda write: (write.record.seq,), lambda write: (write.owner,), changes=True
    ),
    UpdateFiring: Lock(
        LOCK_FIRINGS,
        attrgetter("record.app", "record.job", "record.scheduled_us"),
        attrgetter("record.owner", "record.epoch"),
        changes=False,
    ),
    ReleaseFiring: Lock(
        LOCK_FIRINGS,
        attrgetter("record.app", "record.job", "record.scheduled_us"),
        attrgetter("record.owner", "record.epoch"),
        changes=True,
    ),
}

OTHERS: dict[type[Write], Other] = {
    RequestCancel: Other(
        f"UPDATE runs SET cancel_us = coalesce(cancel_us, $1) WHERE key = $2 AND {UNENDED_ROOT} RETURNING 1",
        lambda write: (write.at_us, write.key),
        writes=True,
    ),
    ReopenRun: Other(
        "UPDATE runs SET status = $1, owner = $2, epoch = $3, updated_us = $4, errors = $5, ended_us = $6"
        " WHERE key = $7 AND status = 'failed' AND NOT EXISTS (SELECT 1 FROM runs AS later"
        " WHERE later.run_id = runs.run_id AND later.app = runs.app AND later.attempt > runs.attempt) RETURNING 1",
        lambda write: (
            write.record.status,
            write.record.owner,
            write.record.epoch,
            write.record.updated_us,
            write.record.errors,
            write.record.ended_us,
            write.record.key,
        ),
        lambda write: ("SELECT 1 FROM runs WHERE key = $1 FOR UPDATE", (write.record.key,)),
        writes=True,
    ),
    RequireEnded: Other(
        f"SELECT 1 FROM runs WHERE key = $1 AND NOT ({UNENDED}) FOR UPDATE", lambda write: (write.key,)
    ),
    TakePlace: Other(
        f"UPDATE runs SET status = 'running', waiting_for = '' WHERE key = $1 AND status = 'waiting' AND {IS_QUEUED}"
        f" AND $2 > (SELECT count(*) FROM (SELECT 1 FROM runs WHERE app = $3 AND workflow = $4 AND {UNENDED_ROOT}"
        f" AND {IS_QUEUED} = false LIMIT $2) AS going) RETURNING 1",
        lambda write: (write.key, write.limit, write.app, write.workflow),
        lambda write: mutex("places", write.app, write.workflow),
        writes=True,
    ),
    RequireAwaiting: Other(
        "SELECT 1 FROM steps WHERE run_key = $1 AND name = $2 AND state = 'waiting' AND awaits = $3 FOR UPDATE",
        lambda write: (write.run_key, write.step, write.topic),
    ),
    RequireNoSignal: Other(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM signals WHERE app = $1 AND topic = $2 AND at_us >= $3)",
        lambda write: (write.app, write.topic, write.since_us),
        lambda write: mutex("signals", write.app, write.topic),
    ),
}
