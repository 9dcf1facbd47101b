"""What processes on one SQLite file take over from nobody and from the dead: runs, deliveries, firings, staged events.

Every function works on the connection that writes, inside of its transaction.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from daemon.store import sql
from daemon.store.job_model import FiringRecord
from daemon.store.model import QueuedDelivery, Receipt, RunRecord
from daemon.store.peers import Peers
from daemon.store.statements import STATEMENTS
from daemon.store.writes import Enqueue

# SQLite's clock has milliseconds; `unixepoch('subsec')` is younger than what Python 3.11 may come with.
NOW_US = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"

# As `sql.RUN_OWNERS`.
_DELIVERY_OWNERS = """
    WITH RECURSIVE each(owner) AS (
        SELECT min(owner) FROM deliveries WHERE app = :app AND subscriber = :subscriber AND reason = ''
        UNION ALL
        SELECT (
            SELECT min(owner) FROM deliveries
            WHERE app = :app AND subscriber = :subscriber AND reason = '' AND owner > each.owner
        )
        FROM each WHERE each.owner IS NOT NULL
    )
    SELECT owner FROM each WHERE owner IS NOT NULL"""

_EVENT_OWNERS = """
    WITH RECURSIVE each(owner) AS (
        SELECT min(owner) FROM outbox WHERE app = :app
        UNION ALL
        SELECT (SELECT min(owner) FROM outbox WHERE app = :app AND owner > each.owner)
        FROM each WHERE each.owner IS NOT NULL
    )
    SELECT owner FROM each WHERE owner IS NOT NULL"""

_RECEIPT_OWNERS = """
    SELECT DISTINCT owner FROM receipts WHERE app = ? AND subscriber = ? AND mark = ? AND mark <> ''"""


def register(connection: sqlite3.Connection, peers: Peers, *, app: str, owner: str, lease_s: float) -> None:
    """Announce a process, or renew its lease; leases that are over are forgotten."""
    peers.hold(owner)
    connection.execute(f"DELETE FROM processes WHERE lease_until_us <= {NOW_US}")
    connection.execute(
        f"INSERT INTO processes (owner, app, lease_until_us) VALUES (?, ?, {NOW_US} + ?) "
        "ON CONFLICT (owner) DO UPDATE SET lease_until_us = excluded.lease_until_us",
        (owner, app, round(lease_s * 1_000_000)),
    )


def retire(connection: sqlite3.Connection, peers: Peers, *, owner: str) -> None:
    """End a process's lease."""
    connection.execute("DELETE FROM processes WHERE owner = ?", (owner,))
    peers.let_go(owner)


def claim_runs(
    connection: sqlite3.Connection,
    peers: Peers,
    *,
    app: str,
    owner: str,
    workflows: Sequence[str],
    limit: int,
    without: Mapping[str, int],
) -> list[RunRecord]:
    """Give unended runs of nobody and of the dead to `owner`."""
    free = _free(connection, peers, connection.execute(sql.RUN_OWNERS, (app, app)), to=owner)
    if not free or not workflows:
        return []
    # Without being told, SQLite walks all runs that ever were, in the order of their keys.
    rows = connection.execute(
        "UPDATE runs SET owner = ?, epoch = epoch + 1 WHERE key IN ("
        f"SELECT key FROM runs INDEXED BY runs_unended WHERE app = ? AND {sql.UNENDED_ROOT}"
        f" AND owner IN ({sql.marks(free)}) AND workflow IN ({sql.marks(workflows)})"
        " AND NOT (owner = '' AND (key, epoch) IN (SELECT key, value FROM json_each(?))) ORDER BY key LIMIT ?)"
        f" RETURNING {sql.RUN_COLUMNS}",
        (owner, app, *free, *workflows, json.dumps(dict(without)), limit),
    ).fetchall()
    return sorted(map(sql.run_record, rows), key=lambda record: record.key)


def take(
    connection: sqlite3.Connection,
    peers: Peers,
    *,
    app: str,
    subscriber: str,
    owner: str,
    limit: int,
    now_us: int,
    ordered: bool,
) -> list[QueuedDelivery]:
    """Give due deliveries of nobody and of the dead to `owner`."""
    queue = {"app": app, "subscriber": subscriber}
    free = _free(connection, peers, connection.execute(_DELIVERY_OWNERS, queue), to=owner)
    if ordered:
        chosen = (
            "SELECT seq FROM (SELECT seq, owner, due_us FROM deliveries WHERE app = ? AND subscriber = ?"
            f" AND reason = '' ORDER BY seq LIMIT 1) WHERE owner IN ({sql.marks(free)}) AND due_us <= ? LIMIT ?"
        )
    else:
        chosen = (
            "SELECT seq FROM deliveries WHERE app = ? AND subscriber = ? AND reason = ''"
            f" AND owner IN ({sql.marks(free)}) AND due_us <= ? ORDER BY due_us, seq LIMIT ?"
        )
    rows = connection.execute(
        f"UPDATE deliveries SET owner = ?, deliveries = deliveries + 1 WHERE seq IN ({chosen})"
        f" RETURNING {sql.DELIVERY_COLUMNS}",
        (owner, app, subscriber, *free, now_us, limit),
    ).fetchall()
    return sorted(map(sql.delivery, rows), key=lambda each: (each.due_us, each.seq))


def park(connection: sqlite3.Connection, delivery: QueuedDelivery) -> int:
    """Put a delivery on its queue; return its `seq`."""
    statement = STATEMENTS[Enqueue]
    (row,) = statement.rows(Enqueue((delivery,)))
    seq: int = connection.execute(f"{statement.sql} RETURNING seq", row).fetchone()[0]
    return seq


def claim_receipt(
    connection: sqlite3.Connection, peers: Peers, *, app: str, subscriber: str, mark: str, owner: str
) -> Receipt | None:
    """Give the oldest unfinished receipt with a mark to `owner`."""
    marked = (app, subscriber, mark)
    free = _free(connection, peers, connection.execute(_RECEIPT_OWNERS, marked), to=owner)
    if not free:
        return None
    rows = connection.execute(
        "UPDATE receipts SET owner = ? WHERE (app, subscriber, source, event_name, event_id) IN ("
        "SELECT app, subscriber, source, event_name, event_id FROM receipts INDEXED BY receipts_by_mark"
        f" WHERE app = ? AND subscriber = ? AND mark = ? AND mark <> '' AND owner IN ({sql.marks(free)})"
        f" AND (owner = '' OR {sql.UNHANDLED}) ORDER BY event_id LIMIT 1) RETURNING {sql.RECEIPT_COLUMNS}",
        (owner, *marked, *free),
    ).fetchall()
    return sql.receipt(rows[0]) if rows else None


def claim_firings(
    connection: sqlite3.Connection, peers: Peers, *, app: str, owner: str, jobs: Sequence[str], limit: int
) -> list[FiringRecord]:
    """Give open firings of nobody and of the dead to `owner`."""
    owners = connection.execute(f"SELECT DISTINCT owner FROM firings WHERE app = ? AND {sql.OPEN}", (app,))
    free = _free(connection, peers, owners, to=owner)
    if not free:
        return []
    rows = connection.execute(
        f"UPDATE firings SET owner = ?, {sql.TAKEN_OVER} WHERE (app, job, scheduled_us) IN ("
        f"SELECT app, job, scheduled_us FROM firings INDEXED BY firings_running WHERE app = ? AND {sql.OPEN}"
        f" AND owner IN ({sql.marks(free)}) AND job IN (SELECT value FROM json_each(?)) ORDER BY scheduled_us LIMIT ?)"
        f" RETURNING {sql.FIRING_COLUMNS}",
        (owner, app, *free, json.dumps(jobs), limit),
    ).fetchall()
    return sorted(map(sql.firing_record, rows), key=lambda each: each.scheduled_us)


def claim_outgoing(connection: sqlite3.Connection, peers: Peers, *, app: str, owner: str, limit: int) -> int:
    """Give staged events of nobody and of the dead to `owner`; return how many."""
    claimed = 0
    for free in _free(connection, peers, connection.execute(_EVENT_OWNERS, {"app": app}), to=owner):
        chosen = "SELECT position FROM outbox WHERE app = ? AND owner = ? ORDER BY position LIMIT ?"
        query = f"UPDATE outbox SET owner = ? WHERE position IN ({chosen})"
        claimed += connection.execute(query, (owner, app, free, limit - claimed)).rowcount
    return claimed


def _free(connection: sqlite3.Connection, peers: Peers, owners: Iterable[tuple[str]], *, to: str) -> list[str]:
    """Return those owners whose rows `to` may take: nobody, and those that are dead."""
    return [owner for (owner,) in owners if not owner or (owner != to and not _lives(connection, peers, owner))]


def _lives(connection: sqlite3.Connection, peers: Peers, owner: str) -> bool:
    """Tell whether an owner has both its lock, which ends with its process, and a lease, which ends if it hangs."""
    leased = f"SELECT 1 FROM processes WHERE owner = ? AND lease_until_us > {NOW_US}"
    return peers.lives(owner) and bool(connection.execute(leased, (owner,)).fetchall())
