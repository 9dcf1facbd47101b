"""What wakes the scheduler when a job is due; it knows times, and nothing of firings."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from daemon.clock import Clock, SystemClock, Timer
from daemon.schedule.timetable import Timetable
from daemon.schedule.trigger import TimetableTrigger


class Alarms(Protocol):
    """Calls a listener in the event loop at the times of timetables, each known by a name.

    Never early by the wall clock, and once however many times have passed since: listing them is the listener's part.
    A call may come without reason.
    """

    def start(self, ring: Callable[[str], object]) -> None:
        """Begin to call `ring` with the names of what is due; it must not raise."""

    def set(self, name: str, timetable: Timetable) -> None:
        """Ring for `name` at the times of a timetable after now, instead of those that it had before."""

    def remove(self, name: str) -> None:
        """Ring for `name` no more; does nothing if it is not known."""

    def look(self) -> None:
        """Ring now for what is due: timers do not notice that the wall clock jumped, or the machine was suspended."""

    def stop(self) -> None:
        """Ring no more."""


def alarms_for(clock: Clock) -> Alarms:
    """Return APScheduler's timer for the machine's clock, which is the only one that it knows, else the clock's own."""
    return SystemAlarms(clock) if isinstance(clock, SystemClock) else ClockAlarms(clock)


class SystemAlarms:
    """APScheduler as the timer: its jobs are names with a trigger of ours, and what it starts is the listener."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bell = _Bell()
        self._is_started = False
        self._scheduler = AsyncIOScheduler(timezone=UTC, executors={"default": self._bell})

    def start(self, ring: Callable[[str], object]) -> None:
        self._bell.ring = ring
        self._scheduler.start()
        self._is_started = True

    def set(self, name: str, timetable: Timetable) -> None:
        self._scheduler.add_job(
            _nothing,
            TimetableTrigger(_Onward(timetable, self._clock)),
            id=name,
            name=name,
            misfire_grace_time=None,
            coalesce=True,
            replace_existing=True,
        )

    def remove(self, name: str) -> None:
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def look(self) -> None:
        self._scheduler.wakeup()

    def stop(self) -> None:
        if self._is_started:  # The scheduler itself only learns of it in the loop's next turn.
            self._is_started = False
            self._scheduler.shutdown(wait=False)


class _Bell(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Runs nothing: no task and no count of instances, since overlap is the scheduler's to judge."""

    ring: Callable[[str], object]

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Tell the listener which job is due."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:  # noqa: ARG002 - APScheduler's method
        self.ring(job.id)


class _Onward:
    """A timetable from now on, so that APScheduler does not list the times that passed while the machine slept.

    The answer for one `after` stays the same: APScheduler asks before and after it submits a job, and what comes due
    in between must not be left out.
    """

    def __init__(self, timetable: Timetable, clock: Clock) -> None:
        self._timetable = timetable
        self._clock = clock
        self._after: datetime | None = None
        self._due: datetime | None = None

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        if after != self._after:
            self._due = next(self._timetable.upcoming(max(after, self._clock.now())), None)
            self._after = after
        return iter(() if self._due is None else (self._due,))


def _nothing() -> None:
    """Stand for what a job of APScheduler runs."""


class ClockAlarms:
    """A heap of times, and one timer of the clock for the first of them: what a `ManualClock` can move."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[datetime, int, str]] = []
        self._timetables: dict[str, Timetable] = {}
        self._latest: dict[str, int] = {}  # Which entry of the heap counts; the others are left to come up.
        self._timer: Timer | None = None
        self._ring: Callable[[str], object] | None = None

    def start(self, ring: Callable[[str], object]) -> None:
        self._ring = ring
        self._set_timer()

    def set(self, name: str, timetable: Timetable) -> None:
        self._timetables[name] = timetable
        self._push(name)
        self._set_timer()

    def remove(self, name: str) -> None:
        self._timetables.pop(name, None)
        self._latest.pop(name, None)

    def look(self) -> None:
        now = self._clock.now()
        while self._ring is not None and self._heap and self._heap[0][0] <= now:
            _, order, name = heapq.heappop(self._heap)
            if self._latest.get(name) == order:
                self._push(name)
                self._ring(name)
        self._set_timer()

    def stop(self) -> None:
        self._ring = None
        self._set_timer()

    def _push(self, name: str) -> None:
        self._latest.pop(name, None)
        due = next(self._timetables[name].upcoming(self._clock.now()), None)
        if due is not None:
            order = self._latest[name] = next(self._order)
            heapq.heappush(self._heap, (due, order, name))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ring is not None and self._heap:
            wait_s = (self._heap[0][0] - self._clock.now()).total_seconds()
            self._timer = self._clock.call_later(max(0.0, wait_s), self.look)
