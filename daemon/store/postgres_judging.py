"""What is known of jobs on PostgreSQL, and the firings that are judged with it.

Every function works in a transaction of its own. What is judged of a job is judged by one transaction at a time, since
it has the job's row locked; those of several jobs are locked in the order of their names. The ends of firings, which
come by the commits, do not wait for that: one that is on its way counts as running.
"""

from collections.abc import Collection, Sequence
from operator import attrgetter

from daemon.store import judgement, sql
from daemon.store.job_model import (
    Claimed,
    ClaimOutcome,
    Deployed,
    FiringClaim,
    FiringRecord,
    FiringState,
    JobOrder,
    JobRecord,
    Overlap,
)
from daemon.store.postgres_batch import arrays
from daemon.store.postgres_guards import mutex
from daemon.store.postgres_link import Link, fetch, kept
from daemon.store.postgres_statements import insertion, keyed, upsertion
from daemon.store.sql import FIRING_COLUMNS, JOB_COLUMNS, OPEN, columns

Key = tuple[str, int]

_LOCK_JOBS = f"SELECT {JOB_COLUMNS} FROM jobs WHERE app = $1 AND job = ANY($2::text[]) ORDER BY job FOR NO KEY UPDATE"
_THERE = """
    SELECT firings.job, firings.scheduled_us FROM unnest($2::text[], $3::bigint[]) AS asked(job, scheduled_us)
    JOIN firings ON firings.app = $1 AND firings.job = asked.job AND firings.scheduled_us = asked.scheduled_us"""
_OURS = f"""
    SELECT {FIRING_COLUMNS} FROM firings
    WHERE app = $1 AND (job, scheduled_us) IN (SELECT * FROM unnest($2::text[], $3::bigint[])) AND owner = $4"""
_GOING = f"SELECT job, count(*) FROM firings WHERE app = $1 AND job = ANY($2::text[]) AND {OPEN} GROUP BY job"
_FIRING = f"SELECT {FIRING_COLUMNS} FROM firings WHERE app = $1 AND job = $2 AND scheduled_us = $3"
_OTHERS = f"""
    SELECT
        EXISTS (SELECT FROM firings
            WHERE app = $1 AND job = $2 AND {OPEN} AND state = 'running' AND scheduled_us <> $3),
        EXISTS (SELECT FROM firings
            WHERE app = $1 AND job = $2 AND {OPEN} AND state = 'waiting' AND scheduled_us < $3
                AND coalesce(due_us, 0) <= $4)"""
_CAME_UP = "INSERT INTO deployments (app, hash, first_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_HAS_IT = "UPDATE processes SET deployment = $2 WHERE owner = $1"
_SINCE = "SELECT first_us FROM deployments WHERE app = $1 AND hash = $2"
_LIVING = """
    SELECT deployments.first_us FROM processes
    JOIN deployments ON deployments.app = processes.app AND deployments.hash = processes.deployment
    WHERE processes.app = $1 AND processes.owner <> $2 AND processes.lease_until > clock_timestamp()"""

_JOB = columns(JobRecord)
_NEW = columns(FiringRecord)
_ORDER = columns(JobOrder, without="position")
_BEGUN = ("state", "attempt", "started_us", "due_us", "ended_us", "error")
_PUT_JOBS = upsertion("jobs", JobRecord, _JOB, ("app", "job"))
_PUT_FIRINGS = insertion("firings", FiringRecord, _NEW)
_PUT_ORDER = insertion("job_orders", JobOrder, _ORDER)
_DEALT = """
    UPDATE jobs SET used = given.used, dealt_us = given.dealt_us, dropped_us = NULL
    FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS given(job, used, dealt_us)
    WHERE jobs.app = $1 AND jobs.job = given.job"""
_USED = "UPDATE jobs SET used = used - $3 WHERE app = $1 AND job = $2"
_BEGIN = keyed("firings", FiringRecord, _BEGUN, ("app", "job", "scheduled_us"))
_job_values, _firing_values, _order_values = attrgetter(*_JOB), attrgetter(*_NEW), attrgetter(*_ORDER)
_begun_values = attrgetter(*_BEGUN, "app", "job", "scheduled_us")
_OUTCOMES = {FiringState.RUNNING: ClaimOutcome.RUNNING, FiringState.WAITING: ClaimOutcome.WAITING}


async def declare(link: Link, deployed: Deployed) -> dict[str, JobRecord]:
    """Say which jobs a process fires; return what is known of them. One process at a time."""
    app, owner, deployment = deployed.app, deployed.owner, deployed.deployment
    statement, values = mutex("jobs", app)
    await link.execute(statement, *values)
    await link.execute(_CAME_UP, app, deployment, deployed.now_us)
    await link.execute(_HAS_IT, owner, deployment)
    came_up_us: int = await link.fetchval(_SINCE, app, deployment)
    living = {since_us for (since_us,) in await fetch(link, _LIVING, app, owner)}
    known = await _locked(link, app, deployed.names)
    changed = judgement.judge_declarations(deployed, jobs=known, came_up_us=came_up_us, lives=living.__contains__)
    if changed:
        await link.execute(_PUT_JOBS, *arrays([_job_values(changed[name]) for name in sorted(changed)]))
    known |= changed
    return {each.name: known[each.name] for each in deployed.jobs}


async def claim_due(
    link: Link, *, app: str, claims: Sequence[FiringClaim], lost: Collection[Key], now_us: int
) -> list[Claimed]:
    """Claim firings; `lost` are those of which it is not known whether this process has claimed them before."""
    keys = [(each.record.job, each.record.scheduled_us) for each in claims]
    # Without a lock: of what the whole fleet claims at the same moment, all but the first have nothing to wait for.
    taken = await _there(link, app, keys)
    free = sorted({job for job, at in keys if (job, at) not in taken})
    known = await _locked(link, app, free)
    asked = [(at, each) for at, each in enumerate(claims) if keys[at] not in taken]
    verdict = judgement.judge_claims(
        [each for _, each in asked],
        jobs=known,
        taken=await _there(link, app, [keys[at] for at, _ in asked]),
        going=await _going(link, app, free),
        now_us=now_us,
    )
    if rows := verdict.rows:
        await link.execute(_PUT_FIRINGS, *arrays([_firing_values(each) for each in rows]))
    if verdict.jobs:
        dealt = [(each.job.job, each.used, each.dealt_us) for each in verdict.jobs]
        await link.execute(_DEALT, app, *arrays(dealt))
    claimed = [judgement.TAKEN] * len(claims)
    for (at, _), answer in zip(asked, verdict.claimed, strict=True):
        claimed[at] = answer
    gone = [key for key, answer in zip(keys, claimed, strict=True) if answer is judgement.TAKEN and key in lost]
    ours = await _ours(link, app, claims[0].record.owner, gone) if gone else {}
    return [ours.get(key, answer) for key, answer in zip(keys, claimed, strict=True)]


async def begin(link: Link, asked: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
    """Have a firing begin that waits."""
    job = (await _locked(link, asked.app, [asked.job])).get(asked.job)
    key = asked.app, asked.job, asked.scheduled_us
    rows = await fetch(link, f"{_FIRING} FOR NO KEY UPDATE", *key)
    ((runs, is_ahead),) = await fetch(link, _OTHERS, *key, now_us)
    claimed = judgement.judge_beginning(
        asked,
        sql.firing_record(rows[0]) if rows else None,
        job,
        overlap=overlap,
        runs=runs,
        is_ahead=is_ahead,
        now_us=now_us,
    )
    if claimed.record is not None:
        await link.execute(_BEGIN, *arrays([_begun_values(claimed.record)]))
    if discount := judgement.discount(claimed):
        await link.execute(_USED, asked.app, asked.job, discount)
    return claimed


async def trigger(link: Link, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
    """Order a firing. One process at a time."""
    statement, values = mutex("order", record.app, record.job)
    await link.execute(statement, *values)
    await _locked(link, record.app, [record.job])
    going = await _going(link, record.app, [record.job])
    if not judgement.may_trigger(overlap, going.get(record.job, 0)):
        return None
    scheduled_us = judgement.first_time(record.scheduled_us)
    while await fetch(link, _FIRING, record.app, record.job, scheduled_us):
        scheduled_us += 1
    stored = judgement.ordered(record, scheduled_us)
    await link.execute(_PUT_FIRINGS, *arrays([_kept(_firing_values(stored))]))
    await link.execute(_PUT_ORDER, *arrays([_kept(_order_values(judgement.order_of(record)))]))
    return stored


async def order(link: Link, wanted: JobOrder) -> bool:
    """Pause or resume a job. One process at a time."""
    statement, values = mutex("order", wanted.app, wanted.job)
    await link.execute(statement, *values)
    changed = judgement.judge_order(wanted, (await _locked(link, wanted.app, [wanted.job])).get(wanted.job))
    if changed is None:
        return False
    await link.execute(_PUT_JOBS, *arrays([_kept(_job_values(changed))]))
    await link.execute(_PUT_ORDER, *arrays([_kept(_order_values(wanted))]))
    return True


async def _locked(link: Link, app: str, names: Sequence[str]) -> dict[str, JobRecord]:
    rows = await fetch(link, _LOCK_JOBS, app, list(names)) if names else []
    return {job.job: job for job in map(sql.job_record, rows)}


async def _there(link: Link, app: str, keys: Sequence[Key]) -> set[Key]:
    rows = await fetch(link, _THERE, app, [job for job, _ in keys], [at for _, at in keys]) if keys else []
    return {(job, at) for job, at in rows}


async def _going(link: Link, app: str, names: Sequence[str]) -> dict[str, int]:
    rows = await fetch(link, _GOING, app, list(names)) if names else []
    return {job: count for job, count in rows}  # noqa: C416 - a record is no pair to the type checker


async def _ours(link: Link, app: str, owner: str, keys: Sequence[Key]) -> dict[Key, Claimed]:
    """Return what became of claims of this process's by which it has got a firing that goes on."""
    rows = await fetch(link, _OURS, app, [job for job, _ in keys], [at for _, at in keys], owner)
    found = map(sql.firing_record, rows)
    return {
        (each.job, each.scheduled_us): Claimed(_OUTCOMES[each.state], each) for each in found if each.state in _OUTCOMES
    }


def _kept(values: sql.Row) -> sql.Row:
    return tuple(kept(value) if isinstance(value, str) else value for value in values)
