"""What processes on one PostgreSQL take over from nobody and from the dead: runs, deliveries, firings, staged events.

Every function works in a transaction of its own. Rows that others are just writing are left to them, and to the next
look.
"""

from collections.abc import Mapping, Sequence

from daemon.store import sql
from daemon.store.job_model import FiringRecord
from daemon.store.model import QueuedDelivery, Receipt, RunRecord
from daemon.store.postgres_guards import mutex
from daemon.store.postgres_link import Link, fetch
from daemon.store.postgres_queries import OUTBOX_ORDER, RUN_OWNERS, of_process
from daemon.store.sql import OPEN, TAKEN_OVER, UNENDED_ROOT, UNHANDLED, Row

_DELIVERY_OWNERS = """
    SELECT DISTINCT owner FROM deliveries WHERE app = $1 AND subscriber = $2 AND reason = '' AND owner <> ''"""
_RELEASE = """
    UPDATE deliveries SET owner = ''
    WHERE app = $1 AND subscriber = $2 AND reason = '' AND owner <> '' AND owner = ANY($3::text[])"""
_CLAIM_RUNS = f"""
    WITH chosen AS MATERIALIZED (
        SELECT key FROM runs
        WHERE app = $1 AND {UNENDED_ROOT} AND owner = ANY($3::text[]) AND workflow = ANY($4::text[])
            AND NOT (owner = '' AND (key, epoch) IN (SELECT * FROM unnest($6::text[], $7::bigint[])))
        ORDER BY key LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE runs SET owner = $2, epoch = epoch + 1 FROM chosen WHERE runs.key = chosen.key
    RETURNING {", ".join(f"runs.{name}" for name in sql.RUN_COLUMNS.split(", "))}"""
_TAKE = f"""
    WITH chosen AS MATERIALIZED (
        SELECT seq FROM deliveries
        WHERE app = $1 AND subscriber = $2 AND reason = '' AND owner = '' AND due_us <= $4
        ORDER BY due_us, seq LIMIT $5 FOR UPDATE SKIP LOCKED
    )
    UPDATE deliveries SET owner = $3, deliveries = deliveries + 1 FROM chosen WHERE deliveries.seq = chosen.seq
    RETURNING {", ".join(f"deliveries.{name}" for name in sql.DELIVERY_COLUMNS.split(", "))}"""
_TAKE_FIRST = f"""
    UPDATE deliveries SET owner = $3, deliveries = deliveries + 1
    WHERE seq = (SELECT seq FROM deliveries WHERE app = $1 AND subscriber = $2 AND reason = '' ORDER BY seq LIMIT 1)
        AND reason = '' AND owner = '' AND due_us <= $4
    RETURNING {sql.DELIVERY_COLUMNS}"""
_CLAIM_FIRINGS = f"""
    WITH chosen AS MATERIALIZED (
        SELECT app, job, scheduled_us FROM firings
        WHERE app = $1 AND {OPEN} AND owner = ANY($3::text[]) AND job = ANY($4::text[])
        ORDER BY scheduled_us LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE firings SET owner = $2, {TAKEN_OVER} FROM chosen
    WHERE firings.app = chosen.app AND firings.job = chosen.job AND firings.scheduled_us = chosen.scheduled_us
    RETURNING {", ".join(f"firings.{name}" for name in sql.FIRING_COLUMNS.split(", "))}"""
_RECEIPT_OWNERS = """
    SELECT DISTINCT owner FROM receipts WHERE app = $1 AND subscriber = $2 AND mark = $3 AND mark <> ''"""
_CLAIM_RECEIPT = f"""
    WITH chosen AS MATERIALIZED (
        SELECT app, subscriber, source, event_name, event_id FROM receipts
        WHERE app = $1 AND subscriber = $2 AND mark = $3 AND mark <> '' AND owner = ANY($5::text[])
            AND (owner = '' OR {UNHANDLED})
        ORDER BY event_id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE receipts SET owner = $4 FROM chosen
    WHERE receipts.app = chosen.app AND receipts.subscriber = chosen.subscriber AND receipts.source = chosen.source
        AND receipts.event_name = chosen.event_name AND receipts.event_id = chosen.event_id
    RETURNING {", ".join(f"receipts.{name}" for name in sql.RECEIPT_COLUMNS.split(", "))}"""
EVENT_OWNERS = """
    WITH RECURSIVE each(owner) AS (
        SELECT min(owner) FROM outbox WHERE app = $1
        UNION ALL
        SELECT (SELECT min(owner) FROM outbox WHERE app = $1 AND owner > each.owner)
        FROM each WHERE each.owner IS NOT NULL
    )
    SELECT owner FROM each WHERE owner IS NOT NULL"""
CLAIM_OUTGOING = f"""
    WITH chosen AS MATERIALIZED (
        SELECT position FROM outbox WHERE {of_process("$3", "0")} ORDER BY {OUTBOX_ORDER} LIMIT $4
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE outbox SET owner = $2 FROM chosen WHERE outbox.position = chosen.position RETURNING 1"""
_STILL_TAKEN = "SELECT seq FROM deliveries WHERE owner = $1 AND seq = ANY($2::bigint[]) FOR UPDATE"
_NEW_DELIVERY = sql.columns(QueuedDelivery, without="seq")
_PARK = f"""
    INSERT INTO deliveries ({", ".join(_NEW_DELIVERY)})
    VALUES ({", ".join(f"${at}" for at in range(1, len(_NEW_DELIVERY) + 1))}) RETURNING seq"""
_STILL_NAMED = f"""
    SELECT {sql.RECEIPT_COLUMNS} FROM receipts WHERE owner = $1
        AND app = $2 AND subscriber = $3 AND source = $4 AND event_name = $5 AND event_id = $6 FOR UPDATE"""
_STILL_CLAIMED = f"""
    SELECT job, scheduled_us FROM firings
    WHERE owner = $1 AND {OPEN} AND app = $2
        AND (job, scheduled_us) IN (SELECT * FROM unnest($3::text[], $4::bigint[])) FOR UPDATE"""
_LIVING = "SELECT owner FROM processes WHERE owner = ANY($1::text[]) AND lease_until > clock_timestamp()"


async def register(link: Link, *, app: str, owner: str, lease_s: float) -> None:
    """Announce a process, or renew its lease; leases that are over are forgotten."""
    await link.execute(
        "INSERT INTO processes (owner, app, lease_until)"
        " VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))"
        " ON CONFLICT (owner) DO UPDATE SET lease_until = excluded.lease_until",
        owner,
        app,
        lease_s,
    )
    await link.execute(
        "WITH dead AS MATERIALIZED (SELECT owner FROM processes WHERE lease_until <= clock_timestamp()"
        " FOR UPDATE SKIP LOCKED) DELETE FROM processes USING dead WHERE processes.owner = dead.owner"
    )


async def retire(link: Link, *, owner: str) -> None:
    """End a process's lease."""
    await link.execute("DELETE FROM processes WHERE owner = $1", owner)


async def bind(link: Link, *, app: str, subscriber: str, patterns: Sequence[str]) -> None:
    """Make these exactly the patterns that a queue is bound to; one process at a time."""
    statement, values = mutex("bindings", app, subscriber)
    await link.execute(statement, *values)
    await link.execute("DELETE FROM bindings WHERE app = $1 AND subscriber = $2", app, subscriber)
    query = "INSERT INTO bindings (app, subscriber, pattern) SELECT $1, $2, unnest($3::text[])"
    await link.execute(query, app, subscriber, list(dict.fromkeys(patterns)))


async def claim_runs(
    link: Link, *, app: str, owner: str, workflows: Sequence[str], limit: int, without: Mapping[str, int]
) -> list[RunRecord]:
    """Give unended runs of nobody and of the dead to `owner`."""
    free = await _free(link, await fetch(link, RUN_OWNERS, app), to=owner)
    if not free or not workflows:
        return []
    rows = await fetch(
        link, _CLAIM_RUNS, app, owner, free, list(workflows), limit, list(without), list(without.values())
    )
    return sorted(map(sql.run_record, rows), key=lambda record: record.key)


async def take(
    link: Link, *, app: str, subscriber: str, owner: str, limit: int, now_us: int, ordered: bool
) -> list[QueuedDelivery]:
    """Give due deliveries of nobody and of the dead to `owner`."""
    if ordered:
        statement, values = mutex("ordered", app, subscriber)
        await link.execute(statement, *values)
    owners = await fetch(link, _DELIVERY_OWNERS, app, subscriber)
    dead = await _free(link, owners, to=owner)
    if dead:
        await link.execute(_RELEASE, app, subscriber, dead)
    if not ordered:
        rows = await fetch(link, _TAKE, app, subscriber, owner, now_us, limit)
    elif len(dead) == len(owners):
        rows = await fetch(link, _TAKE_FIRST, app, subscriber, owner, now_us)
    else:
        # Somebody who lives has one of the queue. It need not be the first: what was enqueued before it may have been
        # committed after it.
        rows = []
    return sorted(map(sql.delivery, rows), key=lambda each: (each.due_us, each.seq))


async def still_taken(link: Link, owner: str, taken: Sequence[QueuedDelivery]) -> list[QueuedDelivery]:
    """Return those of these deliveries that are `owner`'s, once nobody is just writing them."""
    rows = await fetch(link, _STILL_TAKEN, owner, [each.seq for each in taken])
    ours = {seq for (seq,) in rows}
    return [each for each in taken if each.seq in ours]


async def park(link: Link, delivery: QueuedDelivery) -> int:
    """Put a delivery on its queue; return its `seq`."""
    values = [getattr(delivery, name) for name in _NEW_DELIVERY]
    seq: int = await link.fetchval(_PARK, *values)
    return seq


async def claim_receipt(link: Link, *, app: str, subscriber: str, mark: str, owner: str) -> list[Receipt]:
    """Give the oldest unfinished receipt with a mark to `owner`; alone, or nothing."""
    free = await _free(link, await fetch(link, _RECEIPT_OWNERS, app, subscriber, mark), to=owner)
    if not free:
        return []
    return list(map(sql.receipt, await fetch(link, _CLAIM_RECEIPT, app, subscriber, mark, owner, free)))


async def still_named(link: Link, owner: str, claimed: Sequence[Receipt]) -> list[Receipt]:
    """Return those of these receipts that are `owner`'s, once nobody is just writing them."""
    ours: list[Receipt] = []
    for each in claimed:
        key = (each.app, each.subscriber, each.source, each.event_name, each.event_id)
        rows = await fetch(link, _STILL_NAMED, owner, *key)
        ours += map(sql.receipt, rows)
    return ours


async def claim_firings(link: Link, *, app: str, owner: str, jobs: Sequence[str], limit: int) -> list[FiringRecord]:
    """Give open firings of nobody and of the dead to `owner`."""
    owners = await fetch(link, f"SELECT DISTINCT owner FROM firings WHERE app = $1 AND {OPEN}", app)
    free = await _free(link, owners, to=owner)
    if not free:
        return []
    rows = await fetch(link, _CLAIM_FIRINGS, app, owner, free, list(jobs), limit)
    return sorted(map(sql.firing_record, rows), key=lambda each: each.scheduled_us)


async def claim_outgoing(link: Link, *, app: str, owner: str, limit: int) -> int:
    """Give staged events of nobody and of the dead to `owner`; return how many."""
    claimed = 0
    for free in await _free(link, await fetch(link, EVENT_OWNERS, app), to=owner):
        claimed += len(await fetch(link, CLAIM_OUTGOING, app, owner, free, limit - claimed))
    return claimed


async def still_claimed(link: Link, owner: str, claimed: Sequence[FiringRecord]) -> list[FiringRecord]:
    """Return those of these firings that are `owner`'s and go on, once nobody is just writing them."""
    times = [each.scheduled_us for each in claimed]
    rows = await fetch(link, _STILL_CLAIMED, owner, claimed[0].app, [each.job for each in claimed], times)
    ours = {(job, scheduled_us) for job, scheduled_us in rows}
    return [each for each in claimed if (each.job, each.scheduled_us) in ours]


async def _free(link: Link, owners: Sequence[Row], *, to: str) -> list[str]:
    """Return those owners whose rows `to` may take: nobody, and those that are dead."""
    others = [owner for (owner,) in owners if owner and owner != to]
    living = {owner for (owner,) in await fetch(link, _LIVING, others)} if others else set()
    return [owner for (owner,) in owners if owner not in living and owner != to]
