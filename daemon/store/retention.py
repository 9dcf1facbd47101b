"""What stores on SQLite delete when it has been kept for long enough, in small batches.

Every function works on the connection that writes, inside of its transaction. None walks over what it may not delete:
each starts at the oldest of a workflow, a job or a kind, and ends where its index says that the rest is younger.
"""

import sqlite3
from collections.abc import Sequence

from daemon.clock import first_id
from daemon.store import sql

# As `sql.RUN_OWNERS`.
_JOBS = """
    WITH RECURSIVE each(job) AS (
        SELECT min(job) FROM firings WHERE app = ?
        UNION ALL
        SELECT (SELECT min(job) FROM firings WHERE app = ? AND job > each.job) FROM each WHERE each.job IS NOT NULL
    )
    SELECT job FROM each WHERE job IS NOT NULL"""
# Twice the same table: children are stepped over without going to their rows, since the index knows them.
OLD_RUNS = f"""
    SELECT old.key FROM runs AS old INDEXED BY runs_by_workflow CROSS JOIN runs ON runs.key = old.key
    WHERE old.workflow = ? AND old.app = ? AND old.key < ? AND old.root_key IS NULL
        AND NOT (runs.{sql.UNENDED}) AND runs.ended_us < ?
    ORDER BY old.key LIMIT ?"""
OLD_FIRINGS = f"""
    SELECT scheduled_us FROM firings
    WHERE app = ? AND job = ? AND scheduled_us < ? AND NOT ({sql.OPEN}) AND coalesce(ended_us, started_us) < ?
        AND scheduled_us < (SELECT max(scheduled_us) FROM firings AS later WHERE later.app = ? AND later.job = ?)
    ORDER BY scheduled_us LIMIT ?"""
OLD_ORDERS = """
    SELECT position FROM job_orders INDEXED BY job_orders_by_time
    WHERE app = ? AND at_us < ? ORDER BY at_us LIMIT ?"""
OLD_HANDLED = """
    SELECT app, subscriber, source, event_name, event_id FROM handled INDEXED BY handled_by_time
    WHERE app = ? AND handled_us < ? ORDER BY handled_us LIMIT ?"""
OLD_RECEIPTS = """
    SELECT app, subscriber, source, event_name, event_id FROM receipts INDEXED BY receipts_by_time
    WHERE app = ? AND first_seen_us < ? ORDER BY first_seen_us LIMIT ?"""
OLD_SIGNALS = """
    SELECT position FROM signals INDEXED BY signals_by_time
    WHERE app = ? AND topic >= ? AND topic < ? AND at_us < ? LIMIT ?"""
_LAST_CHARACTER = "\U0010ffff"


def prune_runs(
    connection: sqlite3.Connection,
    *,
    app: str,
    before_us: int,
    workflow: str | None,
    without: Sequence[str],
    limit: int,
) -> int:
    """Delete the oldest runs that ended before, with their descendants and all checkpoints; return how many."""
    found = [workflow] if workflow is not None else [each for (each,) in connection.execute(sql.WORKFLOWS)]
    below = first_id(before_us + 1_000)  # an id knows its time by the millisecond
    old: list[tuple[str]] = []
    for each in found:
        if each not in without:
            old += connection.execute(OLD_RUNS, (each, app, below, before_us, limit))
    keys = sql.listed([key for (key,) in sorted(old)[:limit]])
    for statement in (
        f"DELETE FROM steps WHERE run_key IN (SELECT key FROM runs WHERE root_key IN {sql.LISTED})",
        f"DELETE FROM runs WHERE root_key IN {sql.LISTED}",
        f"DELETE FROM steps WHERE run_key IN {sql.LISTED}",
    ):
        connection.execute(statement, (keys,))
    return connection.execute(f"DELETE FROM runs WHERE key IN {sql.LISTED}", (keys,)).rowcount


def prune_firings(connection: sqlite3.Connection, *, app: str, before_us: int, limit: int) -> int:
    """Delete firings that ended before, but never the latest of a job, and what was ordered before; return how many."""
    deleted = 0
    for (job,) in connection.execute(_JOBS, (app, app)).fetchall():
        old = connection.execute(OLD_FIRINGS, (app, job, before_us, before_us, app, job, limit - deleted)).fetchall()
        query = "DELETE FROM firings WHERE app = ? AND job = ? AND scheduled_us = ?"
        deleted += connection.executemany(query, [(app, job, scheduled_us) for (scheduled_us,) in old]).rowcount
    query = f"DELETE FROM job_orders WHERE position IN ({OLD_ORDERS})"
    return deleted + connection.execute(query, (app, before_us, limit - deleted)).rowcount


def prune_handled(connection: sqlite3.Connection, *, app: str, before_us: int, limit: int) -> int:
    """Forget which events were handled before, and old receipts; return how many."""
    deleted = 0
    for table, old in (("handled", OLD_HANDLED), ("receipts", OLD_RECEIPTS)):
        query = f"DELETE FROM {table} WHERE (app, subscriber, source, event_name, event_id) IN ({old})"
        deleted += connection.execute(query, (app, before_us, limit - deleted)).rowcount
    return deleted


def prune_signals(connection: sqlite3.Connection, *, app: str, topic_prefix: str, before_us: int, limit: int) -> int:
    """Delete signals that came before, of the topics that begin with this; return how many."""
    query = f"DELETE FROM signals WHERE position IN ({OLD_SIGNALS})"
    return connection.execute(query, (app, topic_prefix, topic_prefix + _LAST_CHARACTER, before_us, limit)).rowcount
