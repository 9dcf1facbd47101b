"""What a process says of its jobs to the others on the same store; pure."""

import hashlib
from collections.abc import Iterable
from typing import Any

from daemon.schedule.job import Job
from daemon.store.job_model import JobDeclaration


def declarations(jobs: Iterable[Job[Any]]) -> list[JobDeclaration]:
    """Return what is declared of jobs."""
    return [JobDeclaration(job.name, job.schedule.timing, job.schedule.times) for job in jobs]


def deployment(declared: Iterable[JobDeclaration]) -> str:
    """Return a hash of all jobs together: the same in every process that has them alike."""
    lines = sorted(f"{each.name}\x00{each.fingerprint}" for each in declared)
    return hashlib.blake2s("\n".join(lines).encode(), digest_size=16).hexdigest()
