"""Jobs and their firings in a SQLite file."""

from collections.abc import Sequence

from daemon.store import jobs as jobs_in
from daemon.store import sql, takeover
from daemon.store.job_model import (
    Claimed,
    Deployed,
    FiringClaim,
    FiringRecord,
    FiringState,
    JobOrder,
    JobRecord,
    Overlap,
)
from daemon.store.sqlite_file import SqliteFile


class SqliteJobs(SqliteFile):
    """The part of the store that jobs are fired by."""

    async def declare_jobs(self, deployed: Deployed) -> dict[str, JobRecord]:
        return await self._call(lambda connection: jobs_in.declare(connection, self._peers, deployed))

    async def claim_due(self, app: str, claims: Sequence[FiringClaim], *, now_us: int) -> list[Claimed]:
        return await self._call(lambda connection: jobs_in.claim_due(connection, app=app, claims=claims, now_us=now_us))

    async def begin_firing(self, record: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
        return await self._call(lambda connection: jobs_in.begin(connection, record, overlap=overlap, now_us=now_us))

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        # Most of the times that somebody looks nothing is anybody else's, and to see that takes no turn at writing.
        owners = await self._read(f"SELECT DISTINCT owner FROM firings WHERE app = ? AND {sql.OPEN}", app)
        if all(each == owner for (each,) in owners):
            return []
        return await self._call(
            lambda connection: takeover.claim_firings(
                connection, self._peers, app=app, owner=owner, jobs=jobs, limit=limit
            )
        )

    async def trigger_firing(self, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
        return await self._call(lambda connection: jobs_in.trigger(connection, record, overlap=overlap), hints=True)

    async def order_job(self, order: JobOrder) -> bool:
        return await self._call(lambda connection: jobs_in.order(connection, order), hints=True)

    async def jobs(self, app: str, names: Sequence[str] | None = None) -> dict[str, JobRecord]:
        if names is None:
            rows = await self._read(f"SELECT {sql.JOB_COLUMNS} FROM jobs WHERE app = ?", app)
        else:
            rows = await self._read(sql.JOBS, app, sql.listed(names))
        return {job.job: job for job in map(sql.job_record, rows)}

    async def job_orders(self, app: str, job: str, *, limit: int, before: int | None = None) -> list[JobOrder]:
        query = f"SELECT {sql.ORDER_COLUMNS} FROM job_orders WHERE app = ? AND job = ? AND position < ?"
        before = sql.LATEST if before is None else before
        rows = await self._read(f"{query} ORDER BY position DESC LIMIT ?", app, job, before, limit)
        return [sql.job_order(row) for row in rows]

    async def last_firings(self, app: str, jobs: Sequence[str]) -> dict[str, FiringRecord]:
        rows = await self._read(sql.LAST_FIRINGS, sql.listed(jobs), app, app)
        return {each.job: each for each in map(sql.firing_record, rows)}

    async def firings(
        self, app: str, job: str, *, limit: int, before_us: int | None = None, state: FiringState | None = None
    ) -> list[FiringRecord]:
        query = f"SELECT {sql.FIRING_COLUMNS} FROM firings WHERE app = ? AND job = ? AND scheduled_us < ?"
        values = [app, job, sql.LATEST if before_us is None else before_us]
        if state is not None:
            query, values = f"{query} AND state = ?", [*values, state]
        rows = await self._read(f"{query} ORDER BY scheduled_us DESC LIMIT ?", *values, limit)
        return [sql.firing_record(row) for row in rows]
