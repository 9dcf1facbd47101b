"""What claims firings, and what everything about one works with."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import svcs

from daemon.clock import Clock, to_us
from daemon.schedule.lane import Lane
from daemon.store.job_model import FiringClaim, FiringRecord, FiringState
from daemon.store.port import Store

_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every firing works with.

    Attributes:
        app: The application's name: the source of what handlers emit, and owner of rows in the store.
        owner: This process, as the store's leases know it.
        container: Makes a handler's container; it is closed when the handler has ended.
        options: Returns the table `[options.<job name>]`.
        on_staged: Called when something was staged for the outbox.
        is_leased: Tells whether this process's lease goes on for sure; nothing is claimed or begun else, since others
            would take it from this process at once.
        may_take_over: Tells whether what the dead left may be taken over: all who live had the time to say so.
        max_payload_bytes: The largest payload of an event.
        chance: Random numbers from 0 to 1, for the jitter of retries.
        stopping: Tells whether no firing shall wait for anything any more; the scheduler's to say.
    """

    app: str
    owner: str
    store: Store
    clock: Clock
    container: Callable[[], svcs.Container]
    options: Callable[[str], Mapping[str, Any]]
    on_staged: Callable[[], object]
    is_leased: Callable[[], bool] = lambda: True
    may_take_over: Callable[[], bool] = lambda: True
    max_payload_bytes: int = 1_048_576
    chance: Callable[[], float] = random.random
    stopping: Callable[[], bool] = lambda: False


def claim_of(lane: Lane, tick: datetime, around: Surroundings, *, queued: bool) -> FiringClaim:
    """Return the claim of a firing that is to run; `queued`: after those before it, even if the policy is to skip."""
    job, now_us = lane.job, around.clock.now_us()
    schedule = job.schedule
    due_us = to_us(tick + job.delay(tick)) if schedule.jitter else None
    begins = due_us is None or due_us <= now_us
    record = FiringRecord(
        around.app,
        job.name,
        to_us(tick),
        FiringState.RUNNING if begins else FiringState.WAITING,
        around.owner,
        int(begins),
        now_us,
        due_us=None if begins else due_us,
    )
    overlap = "queue" if queued and schedule.overlap == "skip" else schedule.overlap
    return FiringClaim(record, lane.timing, overlap, schedule.max_runs)


def missed_claim_of(lane: Lane, tick: datetime, around: Surroundings) -> FiringClaim:
    """Return the claim of a firing that nobody is to run, with the reason."""
    schedule, now_us = lane.job.schedule, around.clock.now_us()
    reason = f"nobody fired it in time; catch_up is {schedule.catch_up!r}, for {schedule.catch_up_window}"
    record = FiringRecord(
        around.app, lane.job.name, to_us(tick), FiringState.MISSED, around.owner, 0, now_us, now_us, reason
    )
    return FiringClaim(record, lane.timing, schedule.overlap, schedule.max_runs)
