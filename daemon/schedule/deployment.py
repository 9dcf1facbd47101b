"""Which definition of a job counts where processes have it differently: what this one declares, and is told."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from daemon.clock import from_us, to_us
from daemon.log import get_logger
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job
from daemon.schedule.lane import Lane
from daemon.store.job_model import Deployed, JobDeclaration, JobRecord

_log = get_logger(__name__)


class Deployment:
    """The jobs of this process, as it declares them to the others on the same store."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._hash = ""

    async def declare(
        self, jobs: Iterable[Job[Any]], dropped: Collection[str], now: datetime
    ) -> Mapping[str, JobRecord]:
        """Say which jobs this process fires, and which it has turned off; return what is known of each.

        Raises:
            StoreUnavailableError: The store cannot be used.
        """
        declared = declarations(jobs)
        self._hash = deployment(declared)
        return await self._declare(declared, dropped, now)

    async def revive(self, resting: Iterable[Lane]) -> list[Lane]:
        """Return those of the jobs that rest which may go on, from where the fleet was last."""
        superseded = [lane for lane in resting if lane.is_superseded]
        now = self._around.clock.now()
        over = [lane.job.name for lane in resting if not lane.is_superseded]
        known = dict(await self._around.store.jobs(self._around.app, over)) if over else {}
        if superseded:
            known |= await self._declare(declarations(lane.job for lane in superseded), (), now)
        revived = []
        for lane in resting:
            record = known.get(lane.job.name)
            if record is not None and mark(lane, record):
                lane.go_to(min(from_us(record.dealt_us), now), lane.job)
                revived.append(lane)
        return revived

    async def _declare(
        self, declared: list[JobDeclaration], dropped: Collection[str], now: datetime
    ) -> Mapping[str, JobRecord]:
        around = self._around
        return await around.store.declare_jobs(
            Deployed(around.app, around.owner, self._hash, to_us(now), declared, tuple(dropped))
        )


def mark(lane: Lane, known: JobRecord) -> bool:
    """Have a job rest, or not, as the store knows it; tell whether it fires."""
    limit = lane.job.schedule.max_runs
    lane.is_over = limit is not None and known.used >= limit
    lane.is_superseded = known.fingerprint != lane.timing
    if lane.is_superseded and not lane.is_told:
        reason = "another deployment has another schedule of it, which counts; this process does not fire it"
        _log.warning("job_superseded", job=lane.job.name, ours=lane.timing, theirs=known.fingerprint, reason=reason)
    lane.is_told = lane.is_superseded
    return not lane.rests


def declarations(jobs: Iterable[Job[Any]]) -> list[JobDeclaration]:
    """Return what is declared of jobs."""
    return [JobDeclaration(job.name, job.schedule.timing, job.schedule.times) for job in jobs]


def deployment(declared: Iterable[JobDeclaration]) -> str:
    """Return a hash of all jobs together: the same in every process that has them alike."""
    lines = sorted(f"{each.name}\x00{each.fingerprint}" for each in declared)
    return hashlib.blake2s("\n".join(lines).encode(), digest_size=16).hexdigest()
