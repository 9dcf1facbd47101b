"""What the store on PostgreSQL asks when it only reads. A list is passed as an array."""

from daemon.store.sql import (
    DELIVERY_COLUMNS,
    EVENT_COLUMNS,
    FIRING_COLUMNS,
    IS_QUEUED,
    JOB_COLUMNS,
    LATEST,
    OPEN,
    ORDER_COLUMNS,
    RECEIPT_COLUMNS,
    RUN_COLUMNS,
    SIGNAL_COLUMNS,
    STEP_COLUMNS,
    UNENDED,
    UNENDED_ROOT,
    WORKFLOWS,
)

# One that knows upper and lower case, whatever the database's own is.
COLLATION = "SELECT coalesce((SELECT 'und-x-icu' FROM pg_collation WHERE collname = 'und-x-icu' LIMIT 1), 'default')"
LATEST_RUN = f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = $1 AND app = $2 ORDER BY attempt DESC LIMIT 1"
STEPS = f"SELECT {STEP_COLUMNS} FROM steps WHERE run_key = ANY($1::text[])"
CHILDREN = f"SELECT {RUN_COLUMNS} FROM runs WHERE root_key = ANY($1::text[]) ORDER BY key"
GRAPH = "SELECT graph FROM graphs WHERE hash = $1"
UNENDED_PAGE = f"SELECT {RUN_COLUMNS} FROM runs WHERE app = $1 AND {UNENDED_ROOT} AND key > $2 ORDER BY key LIMIT $3"
UNKNOWN = f"""
    SELECT workflow, count(*) FROM runs WHERE app = $1 AND {UNENDED_ROOT} AND workflow <> ALL($2::text[])
    GROUP BY workflow ORDER BY workflow"""
CANCELLATIONS = f"SELECT {RUN_COLUMNS} FROM runs WHERE app = $1 AND owner = $2 AND cancel_us IS NOT NULL AND {UNENDED}"
# The distinct owners of a few million rows, by one look into the index for each owner instead of for each row.
RUN_OWNERS = f"""
    WITH RECURSIVE each(owner) AS (
        SELECT min(owner) FROM runs WHERE app = $1 AND {UNENDED_ROOT}
        UNION ALL
        SELECT (SELECT min(owner) FROM runs WHERE app = $1 AND {UNENDED_ROOT} AND owner > each.owner)
        FROM each WHERE each.owner IS NOT NULL
    )
    SELECT owner FROM each WHERE owner IS NOT NULL"""
# The first of each owner, workflow and state, likewise.
OLDEST_RUN = f"""
    SELECT min(oldest.created_us) FROM ({RUN_OWNERS}) AS owners
    CROSS JOIN unnest(coalesce($2::text[], array({WORKFLOWS}))) AS asked(workflow)
    CROSS JOIN (VALUES (false), (true)) AS queued(value)
    CROSS JOIN LATERAL (
        SELECT created_us FROM runs
        WHERE app = $1 AND owner = owners.owner AND workflow = asked.workflow AND {IS_QUEUED} = queued.value
            AND {UNENDED_ROOT} ORDER BY key LIMIT 1
    ) AS oldest"""

SIGNAL = f"""
    SELECT {SIGNAL_COLUMNS} FROM signals WHERE app = $1 AND topic = $2 AND at_us >= $3
    ORDER BY at_us, position LIMIT 1"""
LAST_SIGNAL = "SELECT coalesce(max(position), 0) FROM signals"
SIGNALLED = f"""
    SELECT {RUN_COLUMNS} FROM runs WHERE key IN (
        SELECT root.key FROM steps
        JOIN runs AS its ON its.key = steps.run_key
        JOIN runs AS root ON root.key = coalesce(its.root_key, its.key)
        JOIN signals ON signals.app = root.app AND signals.topic = steps.awaits
            AND signals.at_us >= root.created_us AND signals.position > $3 AND signals.position <= $4
        WHERE steps.state = 'waiting' AND steps.awaits <> '' AND root.app = $1 AND root.owner = $2 AND root.{UNENDED}
    ) ORDER BY key"""

BINDINGS = "SELECT subscriber, pattern FROM bindings WHERE app = $1 ORDER BY subscriber, pattern"
NEXT_DUE = """
    SELECT min((
        SELECT due_us FROM deliveries
        WHERE app = $1 AND subscriber = asked.subscriber AND reason = '' AND owner = '' ORDER BY due_us LIMIT 1
    )) FROM unnest($2::text[]) AS asked(subscriber)"""
NEXT_DUE_IN_ORDER = """
    SELECT min((
        SELECT CASE owner WHEN '' THEN due_us END FROM deliveries
        WHERE app = $1 AND subscriber = asked.subscriber AND reason = '' ORDER BY seq LIMIT 1
    )) FROM unnest($2::text[]) AS asked(subscriber)"""
DEPTHS = """
    SELECT subscriber, sum(ready)::bigint, sum(owned)::bigint, sum(dead)::bigint FROM (
        SELECT subscriber, count(*) AS ready, 0 AS owned, 0 AS dead
        FROM deliveries WHERE app = $1 AND reason = '' AND owner = '' GROUP BY subscriber
        UNION ALL SELECT subscriber, 0, count(*), 0
        FROM deliveries WHERE app = $1 AND reason = '' AND owner <> '' GROUP BY subscriber
        UNION ALL SELECT subscriber, 0, 0, count(*)
        FROM deliveries WHERE app = $1 AND reason <> '' GROUP BY subscriber
    ) AS each GROUP BY subscriber"""
DEAD = f"""
    SELECT {DELIVERY_COLUMNS} FROM deliveries
    WHERE app = $1 AND subscriber = $2 AND reason <> '' AND ($3::text[] IS NULL OR event_id = ANY($3::text[]))
        AND seq > $5
    ORDER BY seq LIMIT $4"""
HANDLED = """
    SELECT asked.at - 1, handled.body_hash
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
        AS asked(app, subscriber, source, event_name, event_id, at)
    JOIN handled ON handled.app = asked.app AND handled.subscriber = asked.subscriber
        AND handled.source = asked.source AND handled.event_name = asked.event_name
        AND handled.event_id = asked.event_id"""
RECEIPT = f"""
    SELECT {RECEIPT_COLUMNS} FROM receipts
    WHERE app = $1 AND subscriber = $2 AND source = $3 AND event_name = $4 AND event_id = $5"""
FIRINGS = f"""
    SELECT {FIRING_COLUMNS} FROM firings WHERE app = $1 AND job = $2 AND scheduled_us < $3
        AND ($5::text IS NULL OR state = $5)
    ORDER BY scheduled_us DESC LIMIT $4"""
LAST_FIRINGS = f"""
    SELECT last.* FROM unnest($2::text[]) AS asked(job) CROSS JOIN LATERAL (
        SELECT {FIRING_COLUMNS} FROM firings WHERE app = $1 AND job = asked.job ORDER BY scheduled_us DESC LIMIT 1
    ) AS last"""
OPEN_OWNERS = f"SELECT DISTINCT owner FROM firings WHERE app = $1 AND {OPEN}"
JOBS = f"SELECT {JOB_COLUMNS} FROM jobs WHERE app = $1 AND ($2::text[] IS NULL OR job = ANY($2))"
JOB_ORDERS = f"""
    SELECT {ORDER_COLUMNS} FROM job_orders WHERE app = $1 AND job = $2 AND position < $3
    ORDER BY position DESC LIMIT $4"""
OUTBOX_ORDER = "app, owner, position"
OUTGOING = f"SELECT {EVENT_COLUMNS} FROM outbox WHERE app = $1 AND position > $2 ORDER BY position LIMIT $3"


def of_process(owner: str, after: str) -> str:
    """Return what says that a staged event is behind a position, of an application (`$1`) and an owner.

    It is to be ordered by `OUTBOX_ORDER`: only one index has them so, which equalities would hide from the planner.
    """
    behind, until = f"($1, {owner}, {after})", f"($1, {owner}, {LATEST})"
    return f"({OUTBOX_ORDER}) > {behind} AND ({OUTBOX_ORDER}) <= {until}"


# A scalar is asked for each row, where EXISTS may become a join with everything that others have.
OWN_OUTGOING = f"""
    SELECT {EVENT_COLUMNS} FROM outbox
    WHERE {of_process("$2", "$3")} AND (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.origin = outbox.origin AND earlier.app = outbox.app AND earlier.seq < outbox.seq
            AND earlier.owner <> outbox.owner
        LIMIT 1
    ) IS NULL
    ORDER BY {OUTBOX_ORDER} LIMIT $4"""
