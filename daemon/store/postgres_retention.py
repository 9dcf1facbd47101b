"""What the store on PostgreSQL deletes when it has been kept for long enough, in small batches.

Every function works in a transaction of its own. None walks over what it may not delete: each starts at the oldest of
a workflow, a job or a kind, and ends where its index says that the rest is younger.
"""

from collections.abc import Sequence

from daemon.clock import first_id
from daemon.store.postgres_link import Link
from daemon.store.sql import OPEN, UNENDED, WORKFLOWS

_JOBS = """
    WITH RECURSIVE each(job) AS (
        SELECT min(job) FROM firings WHERE app = $1
        UNION ALL
        SELECT (SELECT min(job) FROM firings WHERE app = $1 AND job > each.job) FROM each WHERE each.job IS NOT NULL
    )
    SELECT job FROM each WHERE job IS NOT NULL"""
# From the beginning of a workflow's stretch of its index to where its runs are too young. Only that index has runs in
# this order, which equalities would hide: the planner may prefer the primary key, and read all that others keep.
_OLD_RUNS = f"""
    SELECT key FROM runs
    WHERE (workflow, app, key) > ($1, $2, '') AND (workflow, app, key) < ($1, $2, $3)
        AND root_key IS NULL AND NOT ({UNENDED}) AND ended_us < $4
    ORDER BY workflow, app, key LIMIT $5 FOR UPDATE SKIP LOCKED"""
# Each chooses once what it deletes: a subquery that locks may be asked again for every row.
_OLD_FIRINGS = f"""
    WITH old AS MATERIALIZED (
        SELECT scheduled_us FROM firings
        WHERE app = $1 AND job = $2 AND scheduled_us < $3 AND NOT ({OPEN})
            AND coalesce(ended_us, started_us) < $3
            AND scheduled_us < (SELECT max(scheduled_us) FROM firings WHERE app = $1 AND job = $2)
        ORDER BY scheduled_us LIMIT $4 FOR UPDATE SKIP LOCKED)
    DELETE FROM firings USING old WHERE app = $1 AND job = $2 AND firings.scheduled_us = old.scheduled_us"""
_OLD_ORDERS = """
    WITH old AS MATERIALIZED (
        SELECT position FROM job_orders WHERE app = $1 AND at_us < $2
        ORDER BY at_us LIMIT $3 FOR UPDATE SKIP LOCKED)
    DELETE FROM job_orders USING old WHERE job_orders.position = old.position"""
_OLD_HANDLED = """
    WITH old AS MATERIALIZED (
        SELECT app, subscriber, source, event_name, event_id FROM handled
        WHERE app = $1 AND handled_us < $2 ORDER BY handled_us LIMIT $3 FOR UPDATE SKIP LOCKED)
    DELETE FROM handled USING old
    WHERE handled.app = old.app AND handled.subscriber = old.subscriber AND handled.source = old.source
        AND handled.event_name = old.event_name AND handled.event_id = old.event_id"""
_OLD_RECEIPTS = """
    WITH old AS MATERIALIZED (
        SELECT app, subscriber, source, event_name, event_id FROM receipts
        WHERE app = $1 AND first_seen_us < $2 ORDER BY first_seen_us LIMIT $3 FOR UPDATE SKIP LOCKED)
    DELETE FROM receipts USING old
    WHERE receipts.app = old.app AND receipts.subscriber = old.subscriber AND receipts.source = old.source
        AND receipts.event_name = old.event_name AND receipts.event_id = old.event_id"""
_OLD_SIGNALS = """
    WITH old AS MATERIALIZED (
        SELECT position FROM signals WHERE app = $1 AND topic >= $2 AND topic < $3 AND at_us < $4
        LIMIT $5 FOR UPDATE SKIP LOCKED)
    DELETE FROM signals USING old WHERE signals.position = old.position"""
_LAST_CHARACTER = "\U0010ffff"


async def prune_runs(
    link: Link, *, app: str, before_us: int, workflow: str | None, without: Sequence[str], limit: int
) -> int:
    """Delete the oldest runs that ended before, with their descendants and all checkpoints; return how many."""
    found = [workflow] if workflow is not None else [each for (each,) in await link.fetch(WORKFLOWS)]
    below = first_id(before_us + 1_000)  # an id knows its time by the millisecond
    old: list[str] = []
    for each in found:
        if each not in without:
            old += [key for (key,) in await link.fetch(_OLD_RUNS, each, app, below, before_us, limit)]
    keys = sorted(old)[:limit]
    # Keys that are given are looked up one by one; a join with what is found may walk over all checkpoints.
    children = [key for (key,) in await link.fetch("SELECT key FROM runs WHERE root_key = ANY($1::text[])", keys)]
    await link.execute("DELETE FROM steps WHERE run_key = ANY($1::text[])", [*keys, *children])
    await link.execute("DELETE FROM runs WHERE key = ANY($1::text[])", children)
    return _count(await link.execute("DELETE FROM runs WHERE key = ANY($1::text[])", keys))


async def prune_firings(link: Link, *, app: str, before_us: int, limit: int) -> int:
    """Delete firings that ended before, but never the latest of a job, and what was ordered before; return how many."""
    deleted = 0
    jobs: list[str] = [job for (job,) in await link.fetch(_JOBS, app)]
    for job in jobs:
        deleted += _count(await link.execute(_OLD_FIRINGS, app, job, before_us, limit - deleted))
    return deleted + _count(await link.execute(_OLD_ORDERS, app, before_us, limit - deleted))


async def prune_handled(link: Link, *, app: str, before_us: int, limit: int) -> int:
    """Forget which events were handled before, and old receipts; return how many."""
    handled = _count(await link.execute(_OLD_HANDLED, app, before_us, limit))
    return handled + _count(await link.execute(_OLD_RECEIPTS, app, before_us, limit - handled))


async def prune_signals(link: Link, *, app: str, topic_prefix: str, before_us: int, limit: int) -> int:
    """Delete signals that came before, of the topics that begin with this; return how many."""
    until = topic_prefix + _LAST_CHARACTER
    return _count(await link.execute(_OLD_SIGNALS, app, topic_prefix, until, before_us, limit))


def _count(status: str) -> int:
    """Return how many rows a DELETE says that it deleted."""
    return int(status.rpartition(" ")[2])
