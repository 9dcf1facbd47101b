"""The rows of firings: what claims one, and what records those that nobody fired."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import svcs

from daemon.clock import Clock, to_us
from daemon.log import get_logger
from daemon.schedule.job import Job
from daemon.store.model import FiringRecord, FiringState
from daemon.store.port import Store
from daemon.store.writes import ClaimFiring, Outcome

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every firing works with.

    Attributes:
        app: The application's name: the source of what handlers emit, and owner of rows in the store.
        owner: This process, as the store's leases know it.
        container: Makes a handler's container; it is closed when the handler has ended.
        options: Returns the table `[options.<job name>]`.
        on_staged: Called when something was staged for the outbox.
        stopping: Tells whether no firing shall wait for anything any more.
        max_payload_bytes: The largest payload of an event.
        chance: Random numbers from 0 to 1, for the jitter of retries.
    """

    app: str
    owner: str
    store: Store
    clock: Clock
    container: Callable[[], svcs.Container]
    options: Callable[[str], Mapping[str, Any]]
    on_staged: Callable[[], object]
    stopping: Callable[[], bool]
    max_payload_bytes: int = 1_048_576
    chance: Callable[[], float] = random.random


def new_record(job: Job[Any], tick: datetime, state: FiringState, around: Surroundings) -> FiringRecord:
    """Return the row of a firing that nobody has claimed, as far as we know."""
    return FiringRecord(around.app, job.name, to_us(tick), state, around.owner, 0, around.clock.now_us())


async def record_missed(job: Job[Any], ticks: Sequence[datetime], around: Surroundings) -> None:
    """Record and log that firings were missed, but for those that another daemon has recorded or fired."""
    schedule = job.schedule
    reason = f"nobody fired it in time; catch_up is {schedule.catch_up!r}, for {schedule.catch_up_window}"
    commits = []
    for tick in ticks:
        record = new_record(job, tick, FiringState.MISSED, around)
        record.ended_us, record.error = record.started_us, reason
        commits.append(around.store.commit(ClaimFiring(record)))
    for tick, commit in zip(ticks, commits, strict=True):
        if await commit is Outcome.APPLIED:
            _log.warning("job_missed", job=job.name, scheduled_for=tick.isoformat(), reason=reason)
