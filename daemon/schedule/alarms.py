"""What wakes the scheduler when jobs are due; it knows times and names, and nothing of firings."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from daemon.clock import Clock, SystemClock, Timer
from daemon.schedule.trigger import TimetableTrigger

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_SOON = timedelta(milliseconds=1)
_ID = "alarms"


class Alarms(Protocol):
    """Calls a listener in the event loop when times have come, each known by a name that has one at most.

    Never early by the wall clock, and once: whoever wants to be called again sets the next time. A call may come
    without reason.
    """

    def start(self, ring: Callable[[Sequence[str]], object]) -> None:
        """Begin to call `ring` with the names of all that is due; it must not raise."""

    def set(self, times: Iterable[tuple[str, datetime | None]]) -> None:
        """Ring for these names at these times instead of those that they had; None: no more."""

    def look(self) -> None:
        """Ring now for what is due: timers do not notice that the wall clock jumped, or the machine was suspended."""

    def stop(self) -> None:
        """Ring no more."""


def alarms_for(clock: Clock) -> Alarms:
    """Return APScheduler's timer for the machine's clock, which is the only one that it knows, else the clock's own."""
    return SystemAlarms(clock) if isinstance(clock, SystemClock) else ClockAlarms(clock)


class _Heap:
    """Times in their order, the earliest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[datetime, int, str]] = []
        self._latest: dict[str, int] = {}  # Which entry of the heap counts; the others are left to come up.

    @property
    def head(self) -> datetime | None:
        """The earliest time."""
        while self._heap and self._latest.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def put(self, name: str, moment: datetime | None) -> None:
        self._latest.pop(name, None)
        if moment is not None:
            order = self._latest[name] = next(self._order)
            heapq.heappush(self._heap, (moment, order, name))

    def pop_due(self) -> list[str]:
        """Return whose times have come, and forget these."""
        now, due = self._clock.now(), []
        while self._heap and self._heap[0][0] <= now:
            _, order, name = heapq.heappop(self._heap)
            if self._latest.get(name) == order:
                del self._latest[name]
                due.append(name)
        return due

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """Be the timetable of the one job that APScheduler has: what it asks for is never past, and never the end."""
        head = self.head or _NEVER
        yield head if head > after else max(after, self._clock.now()) + _SOON


class SystemAlarms:
    """APScheduler as the timer: it has one job, whose trigger says when the first of all is due."""

    def __init__(self, clock: Clock) -> None:
        self._heap = _Heap(clock)
        self._bell = _Bell()
        self._set_for = _NEVER
        self._is_started = False
        self._scheduler = AsyncIOScheduler(timezone=UTC, executors={"default": self._bell})

    def start(self, ring: Callable[[Sequence[str]], object]) -> None:
        def look() -> None:
            if due := self._heap.pop_due():
                ring(due)
            self._set_for = self._heap.head or _NEVER

        self._bell.look = look
        trigger = TimetableTrigger(self._heap)
        self._scheduler.add_job(
            _nothing, trigger, id=_ID, misfire_grace_time=None, coalesce=True, next_run_time=self._heap.head or _NEVER
        )
        self._scheduler.start()
        self._is_started = True

    def set(self, times: Iterable[tuple[str, datetime | None]]) -> None:
        for name, moment in times:
            self._heap.put(name, moment)
        head = self._heap.head
        if self._is_started and head is not None and head < self._set_for:
            self._set_for = head
            self._scheduler.modify_job(_ID, next_run_time=head)

    def look(self) -> None:
        if self._is_started:
            self._bell.look()
            self._scheduler.wakeup()

    def stop(self) -> None:
        if self._is_started:  # The scheduler itself only learns of it in the loop's next turn.
            self._is_started = False
            self._bell.look = _nothing
            self._scheduler.shutdown(wait=False)


class _Bell(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Runs nothing: no task and no count of instances, since overlap is the scheduler's to judge."""

    look: Callable[[], object]

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Look what is due."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:  # noqa: ARG002 - APScheduler's method
        self.look()


def _nothing() -> None:
    """Stand for what a job of APScheduler runs."""


class ClockAlarms:
    """One timer of the clock for the first of all times: what a `ManualClock` can move."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap = _Heap(clock)
        self._timer: Timer | None = None
        self._ring: Callable[[Sequence[str]], object] | None = None

    def start(self, ring: Callable[[Sequence[str]], object]) -> None:
        self._ring = ring
        self._set_timer()

    def set(self, times: Iterable[tuple[str, datetime | None]]) -> None:
        for name, moment in times:
            self._heap.put(name, moment)
        self._set_timer()

    def look(self) -> None:
        if self._ring is not None and (due := self._heap.pop_due()):
            self._ring(due)
        self._set_timer()

    def stop(self) -> None:
        self._ring = None
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        head = self._heap.head
        if self._ring is not None and head is not None:
            wait_s = (head - self._clock.now()).total_seconds()
            self._timer = self._clock.call_later(max(0.0, wait_s), self.look)
