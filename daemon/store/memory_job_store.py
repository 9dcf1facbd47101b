"""Jobs and their firings in memory, and what a store in memory has beside: who lives, and whom to call back."""

import asyncio
from collections.abc import Callable, Sequence

from daemon.clock import Clock
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
from daemon.store.memory_firings import MemoryFirings
from daemon.store.memory_jobs import MemoryJobs


class MemoryJobStore:
    """The part of the store that jobs are fired by.

    Args:
        clock: Counts the leases.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, float] = {}
        self._hints: list[Callable[[], object]] = []
        self._firings = MemoryFirings(self._hint)
        self._jobs = MemoryJobs(self._firings, is_dead=lambda of, to: self._is_dead(of, to=to), hint=self._hint)

    async def firings(
        self, app: str, job: str, *, limit: int, before_us: int | None = None, state: FiringState | None = None
    ) -> list[FiringRecord]:
        return self._firings.page(app, job, limit=limit, before_us=before_us, state=state)

    async def last_firings(self, app: str, jobs: Sequence[str]) -> dict[str, FiringRecord]:
        return self._firings.last(app, jobs)

    async def jobs(self, app: str, names: Sequence[str] | None = None) -> dict[str, JobRecord]:
        return self._jobs.of(app, names)

    async def job_orders(self, app: str, job: str, *, limit: int, before: int | None = None) -> list[JobOrder]:
        return self._jobs.orders(app, job, limit=limit, before=before)

    async def declare_jobs(self, deployed: Deployed) -> dict[str, JobRecord]:
        return self._jobs.declare(deployed)

    async def claim_due(self, app: str, claims: Sequence[FiringClaim], *, now_us: int) -> list[Claimed]:
        return self._jobs.claim_due(app, claims, now_us)

    async def begin_firing(self, record: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
        return self._jobs.begin(record, overlap=overlap, now_us=now_us)

    async def trigger_firing(self, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
        return self._jobs.trigger(record, overlap=overlap)

    async def order_job(self, order: JobOrder) -> bool:
        return self._jobs.order(order)

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        return self._firings.take_over(app, owner, jobs, limit=limit, is_dead=lambda of: self._is_dead(of, to=owner))

    # --- processes ---
    def _is_dead(self, owner: str, *, to: str) -> bool:
        return owner != to and self._leases.get(owner, -1.0) <= self._clock.monotonic_s()

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        self._hints.append(callback)
        return lambda: self._hints.remove(callback)

    def _hint(self) -> None:
        if self._hints:
            loop = asyncio.get_running_loop()
            for callback in self._hints:
                loop.call_soon(callback)
