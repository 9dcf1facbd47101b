"""Jobs and their firings in a PostgreSQL database."""

from collections.abc import Sequence

from daemon.store import postgres_judging as judging
from daemon.store import postgres_queries as queries
from daemon.store import postgres_takeover as takeover
from daemon.store import sql
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
from daemon.store.postgres_database import PostgresDatabase


class PostgresJobs(PostgresDatabase):
    """The part of the store that jobs are fired by.

    If the connection is lost while claims are on their way, nobody has said whether they were committed. They are
    remembered: what the next ones find to be this process's already is theirs.
    """

    def __init__(self, url: str, *, app: str, schema: str, migrates: bool) -> None:
        super().__init__(url, app=app, schema=schema, migrates=migrates)
        self._lost: set[judging.Key] = set()

    async def declare_jobs(self, deployed: Deployed) -> dict[str, JobRecord]:
        return await self._call(lambda link: judging.declare(link, deployed))

    async def claim_due(self, app: str, claims: Sequence[FiringClaim], *, now_us: int) -> list[Claimed]:
        keys = {(each.record.job, each.record.scheduled_us) for each in claims}
        lost = keys & self._lost
        try:
            claimed = await self._call(
                lambda link: judging.claim_due(link, app=app, claims=claims, lost=lost, now_us=now_us)
            )
        except BaseException:
            self._lost |= keys
            raise
        self._lost -= keys
        return claimed

    async def begin_firing(self, record: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
        return await self._call(lambda link: judging.begin(link, record, overlap=overlap, now_us=now_us))

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        return await self._claims.make(
            ("firings", app, owner),
            lambda link: takeover.claim_firings(link, app=app, owner=owner, jobs=jobs, limit=limit),
            lambda link, claimed: takeover.still_claimed(link, owner, claimed),
        )

    async def trigger_firing(self, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
        stored = await self._call(lambda link: judging.trigger(link, record, overlap=overlap))
        self._hinted()
        return stored

    async def order_job(self, order: JobOrder) -> bool:
        is_new = await self._call(lambda link: judging.order(link, order))
        self._hinted()
        return is_new

    async def jobs(self, app: str, names: Sequence[str] | None = None) -> dict[str, JobRecord]:
        asked = None if names is None else list(names)
        return {job.job: job for job in map(sql.job_record, await self._read(queries.JOBS, app, asked))}

    async def job_orders(self, app: str, job: str, *, limit: int, before: int | None = None) -> list[JobOrder]:
        rows = await self._read(queries.JOB_ORDERS, app, job, sql.LATEST if before is None else before, limit)
        return [sql.job_order(row) for row in rows]

    async def last_firings(self, app: str, jobs: Sequence[str]) -> dict[str, FiringRecord]:
        rows = await self._read(queries.LAST_FIRINGS, app, list(jobs))
        return {each.job: each for each in map(sql.firing_record, rows)}

    async def firings(
        self, app: str, job: str, *, limit: int, before_us: int | None = None, state: FiringState | None = None
    ) -> list[FiringRecord]:
        before_us = sql.LATEST if before_us is None else before_us
        return [sql.firing_record(row) for row in await self._read(queries.FIRINGS, app, job, before_us, limit, state)]
