"""What is known of jobs on SQLite, and the firings that are judged with it.

Every function works on the connection that writes, inside of its transaction.
"""

import json
import sqlite3
from collections.abc import Sequence
from operator import attrgetter

from daemon.store import judgement, sql
from daemon.store.job_model import Claimed, Deployed, FiringClaim, FiringRecord, JobOrder, JobRecord, Overlap
from daemon.store.peers import Peers
from daemon.store.sql import FIRING_COLUMNS, OPEN, columns, listed, marks
from daemon.store.takeover import NOW_US

_TAKEN = """
    SELECT firings.job, firings.scheduled_us FROM json_each(?) AS asked CROSS JOIN firings
    WHERE firings.app = ? AND firings.job = asked.value ->> 0 AND firings.scheduled_us = asked.value ->> 1"""
_GOING = f"""
    SELECT firings.job, count(*) FROM json_each(?) AS asked CROSS JOIN firings INDEXED BY firings_open
    WHERE firings.app = ? AND firings.job = asked.value AND {OPEN} GROUP BY firings.job"""
_COUNT = f"SELECT count(*) FROM firings INDEXED BY firings_open WHERE app = ? AND job = ? AND {OPEN}"
_FIRING = f"SELECT {FIRING_COLUMNS} FROM firings WHERE app = ? AND job = ? AND scheduled_us = ?"
_RUNS = f"""
    SELECT EXISTS (
        SELECT 1 FROM firings INDEXED BY firings_open
        WHERE app = ? AND job = ? AND {OPEN} AND state = 'running' AND scheduled_us <> ?)"""
_IS_AHEAD = f"""
    SELECT EXISTS (
        SELECT 1 FROM firings INDEXED BY firings_open
        WHERE app = ? AND job = ? AND {OPEN} AND scheduled_us < ? AND state = 'waiting'
            AND coalesce(due_us, 0) <= ?)"""
_CAME_UP = "INSERT INTO deployments (app, hash, first_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_SINCE = "SELECT first_us FROM deployments WHERE app = ? AND hash = ?"
_HAVE_IT = f"""
    SELECT processes.owner FROM deployments JOIN processes ON processes.deployment = deployments.hash
    WHERE deployments.app = ? AND deployments.first_us = ? AND processes.app = deployments.app
        AND processes.owner <> ? AND processes.lease_until_us > {NOW_US}"""

_JOB = columns(JobRecord)
_NEW = columns(FiringRecord)
_ORDER = columns(JobOrder, without="position")
_BEGUN = ("state", "attempt", "started_us", "due_us", "ended_us", "error")
_PUT_JOB = f"INSERT OR REPLACE INTO jobs ({', '.join(_JOB)}) VALUES ({marks(_JOB)})"
_DEALT = "UPDATE jobs SET used = ?, dealt_us = ?, dropped_us = NULL WHERE app = ? AND job = ?"
_USED = "UPDATE jobs SET used = used - ? WHERE app = ? AND job = ?"
_PUT_FIRING = f"INSERT INTO firings ({', '.join(_NEW)}) VALUES ({marks(_NEW)})"
_BEGIN = (
    f"UPDATE firings SET {', '.join(f'{name} = ?' for name in _BEGUN)} WHERE app = ? AND job = ? AND scheduled_us = ?"
)
_PUT_ORDER = f"INSERT INTO job_orders ({', '.join(_ORDER)}) VALUES ({marks(_ORDER)})"
_job_values, _firing_values, _order_values = attrgetter(*_JOB), attrgetter(*_NEW), attrgetter(*_ORDER)
_begun_values = attrgetter(*_BEGUN, "app", "job", "scheduled_us")


def declare(connection: sqlite3.Connection, peers: Peers, deployed: Deployed) -> dict[str, JobRecord]:
    """Say which jobs a process fires; return what is known of them."""
    app, owner, deployment = deployed.app, deployed.owner, deployed.deployment
    connection.execute(_CAME_UP, (app, deployment, deployed.now_us))
    connection.execute("UPDATE processes SET deployment = ? WHERE owner = ?", (deployment, owner))
    ((came_up_us,),) = connection.execute(_SINCE, (app, deployment)).fetchall()

    def lives(since_us: int) -> bool:
        return any(peers.lives(other) for (other,) in connection.execute(_HAVE_IT, (app, since_us, owner)).fetchall())

    known = _known(connection, app, deployed.names)
    changed = judgement.judge_declarations(deployed, jobs=known, came_up_us=came_up_us, lives=lives)
    connection.executemany(_PUT_JOB, map(_job_values, changed.values()))
    known |= changed
    return {each.name: known[each.name] for each in deployed.jobs}


def claim_due(connection: sqlite3.Connection, *, app: str, claims: Sequence[FiringClaim], now_us: int) -> list[Claimed]:
    """Claim firings."""
    names = list({each.record.job for each in claims})
    keys = json.dumps([(each.record.job, each.record.scheduled_us) for each in claims])
    verdict = judgement.judge_claims(
        claims,
        jobs=_known(connection, app, names),
        taken=set(connection.execute(_TAKEN, (keys, app))),
        going=dict(connection.execute(_GOING, (listed(names), app)).fetchall()),
        now_us=now_us,
    )
    connection.executemany(_PUT_FIRING, map(_firing_values, verdict.rows))
    connection.executemany(_DEALT, [(each.used, each.dealt_us, app, each.job.job) for each in verdict.jobs])
    return verdict.claimed


def begin(connection: sqlite3.Connection, asked: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
    """Have a firing begin that waits."""
    key = asked.app, asked.job, asked.scheduled_us
    rows = connection.execute(_FIRING, key).fetchall()
    ((runs,),) = connection.execute(_RUNS, key).fetchall()
    ((is_ahead,),) = connection.execute(_IS_AHEAD, (*key, now_us)).fetchall()
    claimed = judgement.judge_beginning(
        asked,
        sql.firing_record(rows[0]) if rows else None,
        _known(connection, asked.app, [asked.job]).get(asked.job),
        overlap=overlap,
        runs=bool(runs),
        is_ahead=bool(is_ahead),
        now_us=now_us,
    )
    if claimed.record is not None:
        connection.execute(_BEGIN, _begun_values(claimed.record))
    if discount := judgement.discount(claimed):
        connection.execute(_USED, (discount, asked.app, asked.job))
    return claimed


def trigger(connection: sqlite3.Connection, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
    """Order a firing."""
    ((going,),) = connection.execute(_COUNT, (record.app, record.job)).fetchall()
    if not judgement.may_trigger(overlap, going):
        return None
    scheduled_us = judgement.first_time(record.scheduled_us)
    while connection.execute(_FIRING, (record.app, record.job, scheduled_us)).fetchall():
        scheduled_us += 1
    stored = judgement.ordered(record, scheduled_us)
    connection.execute(_PUT_FIRING, _firing_values(stored))
    connection.execute(_PUT_ORDER, _order_values(judgement.order_of(record)))
    return stored


def order(connection: sqlite3.Connection, wanted: JobOrder) -> bool:
    """Pause or resume a job."""
    changed = judgement.judge_order(wanted, _known(connection, wanted.app, [wanted.job]).get(wanted.job))
    if changed is None:
        return False
    connection.execute(_PUT_JOB, _job_values(changed))
    connection.execute(_PUT_ORDER, _order_values(wanted))
    return True


def _known(connection: sqlite3.Connection, app: str, names: Sequence[str]) -> dict[str, JobRecord]:
    rows = connection.execute(sql.JOBS, (app, listed(names))).fetchall()
    return {job.job: job for job in map(sql.job_record, rows)}
