"""What operators see of jobs, and what they order: the same from every process that has the store.

Nothing here fires. What is ordered is written down, and the daemons heed it: a pause when they claim a firing, and a
firing that was triggered as one that is nobody's yet.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, NoReturn

from daemon.clock import Clock, iso_of
from daemon.errors import JobNotFound, JobStateError
from daemon.schedule.describe import firing_json, next_firings, order_json, schedule_json
from daemon.schedule.job import Job
from daemon.store.job_model import OPEN_MAX, FiringRecord, FiringState, JobAction, JobOrder, JobRecord
from daemon.store.job_port import JobStore

NOTE_MAX = 500
AFTER = r"^[0-9]{1,18}$"
_SHOWN = 3


class JobStatus(StrEnum):
    """Whether a job fires.

    Attributes:
        ACTIVE: When it is due.
        PAUSED: Its firing times pass, and are recorded as skipped.
        OVER: No more: it has had `max_runs` firings, or its last time has passed.
        DISABLED: Not as long as the configuration turns it off.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    OVER = "over"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class JobState:
    """A job, and how it stands.

    Attributes:
        job: As the configuration of this process changes it.
        record: What the fleet knows of it; None if no daemon had it yet.
        runs_left: How many firings are left of `max_runs`; None: no limit.
        last: Its latest firing, whatever became of it.
        now: When this was so.
    """

    job: Job[Any]
    status: JobStatus
    record: JobRecord | None
    runs_left: int | None
    last: FiringRecord | None
    now: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data.

        `next` are the next firing times of its schedule, at most three; none if it is over or disabled. While it is
        paused they are skipped.
        """
        fires = self.status in (JobStatus.ACTIVE, JobStatus.PAUSED)
        shown = _SHOWN if self.runs_left is None else min(_SHOWN, self.runs_left)
        return {
            "name": self.job.name,
            "workflow": self.job.workflow,
            **schedule_json(self.job.schedule),
            "runs_left": self.runs_left,
            "state": self.status.value,
            "paused": _pause_json(self.record),
            "next": next_firings(self.job.schedule, self.now, shown if fires else 0),
            "last": None if self.last is None else firing_json(self.last),
        }


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what happened, the latest first.

    Attributes:
        next: What `after` is for the part that follows, a text like `AFTER`; None if this is the last.
    """

    items: list[dict[str, Any]]
    next: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"items": self.items, "next": self.next}


class JobDesk:
    """Lists jobs and what became of their firings; pauses, resumes and triggers them.

    Args:
        store: Open.
        app: The application's name.
        jobs: Returns the jobs that the configuration leaves on, as it changes them.
        declared: All jobs, as the code has them.
    """

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        *,
        app: str,
        jobs: Callable[[], Iterable[Job[Any]]],
        declared: Iterable[Job[Any]],
    ) -> None:
        self._store, self._clock, self._app = store, clock, app
        self._jobs = jobs
        self._declared = {job.name: job for job in declared}

    async def list(self) -> tuple[JobState, ...]:
        """Return all jobs of the code, those that are turned off included, by name.

        Raises:
            StoreUnavailableError: The store does not answer; so for all that follows.
        """
        return await self._states(sorted(self._declared))

    async def get(self, name: str) -> JobState:
        """Return one job.

        Raises:
            JobNotFound: The code has none of this name.
        """
        self._check(name)
        (state,) = await self._states([name])
        return state

    async def history(
        self, name: str, *, state: FiringState | None = None, after: str | None = None, limit: int = 50
    ) -> Page:
        """Return what became of a job's firings, also of a job that the code has no more; the latest first.

        Args:
            name: The job's.
            state: Only those in it.
            after: The `next` of the part before.
            limit: At most so many.

        Raises:
            JobNotFound: Nobody knows such a job.
        """
        await self._check_known(name)
        before_us = None if after is None else int(after)
        found = await self._store.firings(self._app, name, limit=limit + 1, before_us=before_us, state=state)
        shown = found[:limit]
        return Page([firing_json(each) for each in shown], str(shown[-1].scheduled_us) if len(found) > limit else None)

    async def orders(self, name: str, *, after: str | None = None, limit: int = 50) -> Page:
        """Return who paused, resumed and triggered a job, when and why; the latest first. The rest as for `history`."""
        await self._check_known(name)
        before = None if after is None else int(after)
        found = await self._store.job_orders(self._app, name, limit=limit + 1, before=before)
        shown = found[:limit]
        return Page([order_json(each) for each in shown], str(shown[-1].position) if len(found) > limit else None)

    async def trigger(self, name: str, *, by: str, reason: str = "") -> dict[str, Any]:
        """Order a firing now, and return it; a daemon of the fleet takes it up, the next to start if none runs.

        It fires also while the job is paused or over, and does not count for `max_runs`. It is a firing like others:
        `overlap` holds for it, and the job's own options are those of the daemon that takes it up.

        Raises:
            JobNotFound: The code has no such job.
            JobStateError: The configuration turns it off; or a firing of it runs or waits, and `overlap` is `skip`.
        """
        schedule = self._on(name).schedule
        now_us = self._clock.now_us()
        wanted = FiringRecord(
            self._app, name, now_us, FiringState.WAITING, "", 0, now_us, trigger="manual", by=by, reason=reason
        )
        ordered = await self._store.trigger_firing(wanted, overlap=schedule.overlap)
        if ordered is None:
            if schedule.overlap == "skip":
                why = "a firing of it runs or waits, and its overlap is 'skip'"
            else:
                why = f"{OPEN_MAX:,} firings of it run or wait already"
            raise JobStateError(f"Job {name!r} is not triggered: {why}. `sagad jobs history {name}` shows them.")
        return firing_json(ordered)

    async def pause(self, name: str, *, by: str, reason: str = "") -> JobState:
        """Have no firing of a job begin in the whole fleet until it is resumed, and return it; again: as it is.

        What runs goes on. Firing times that come meanwhile are recorded as skipped, and not made up for.

        Raises:
            JobNotFound: The code has no such job.
        """
        return await self._order(name, JobAction.PAUSE, by, reason)

    async def resume(self, name: str, *, by: str, reason: str = "") -> JobState:
        """Have a job fire again from now on, and return it; one that is not paused: as it is.

        Raises:
            JobNotFound: The code has no such job.
        """
        return await self._order(name, JobAction.RESUME, by, reason)

    async def _order(self, name: str, action: JobAction, by: str, reason: str) -> JobState:
        self._check(name)
        await self._store.order_job(JobOrder(self._app, name, action, by, reason, self._clock.now_us()))
        return await self.get(name)

    async def _states(self, names: Sequence[str]) -> tuple[JobState, ...]:
        on = {job.name: job for job in self._jobs()}
        records = await self._store.jobs(self._app, names)
        last = await self._store.last_firings(self._app, names)
        now = self._clock.now()

        def judged() -> tuple[JobState, ...]:
            return tuple(
                self._state(on.get(name), self._declared[name], records.get(name), last.get(name), now)
                for name in names
            )

        return await asyncio.to_thread(judged)  # thousands of jobs must not hold up the loop

    def _state(
        self,
        on: Job[Any] | None,
        declared: Job[Any],
        record: JobRecord | None,
        last: FiringRecord | None,
        now: datetime,
    ) -> JobState:
        job = on or declared
        limit = job.schedule.max_runs
        left = None if limit is None else max(0, limit - (record.used if record else 0))
        if on is None:
            status = JobStatus.DISABLED
        elif left == 0 or not any(True for _ in islice(job.schedule.upcoming(now), 1)):
            status = JobStatus.OVER
        else:
            status = JobStatus.PAUSED if record and record.paused_us is not None else JobStatus.ACTIVE
        return JobState(job, status, record, left, last, now)

    def _on(self, name: str) -> Job[Any]:
        self._check(name)
        for job in self._jobs():
            if job.name == name:
                return job
        raise JobStateError(
            f"Job {name!r} is turned off by the configuration: take out jobs.{name}.enabled = false first."
        )

    def _check(self, name: str) -> None:
        if name not in self._declared:
            self._refuse(name)

    async def _check_known(self, name: str) -> None:
        if (
            name not in self._declared
            and name not in await self._store.jobs(self._app, [name])
            and not await self._store.last_firings(self._app, [name])
        ):
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise JobNotFound(name, sorted(self._declared))


def check_note(text: str) -> str:
    """Return what somebody says of an order: who they are, or why.

    Raises:
        ValueError: It is no line of printable text, or longer than 500 characters.
    """
    if len(text) > NOTE_MAX or not text.isprintable():
        raise ValueError(f"Must be one line of printable text, {NOTE_MAX} characters at most")
    return text


def _pause_json(record: JobRecord | None) -> dict[str, Any] | None:
    if record is None or record.paused_us is None:
        return None
    return {"at": iso_of(record.paused_us), "by": record.paused_by, "reason": record.paused_reason}
