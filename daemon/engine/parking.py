"""Runs that wait for long: they cost neither a task nor a timer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from heapq import heappop, heappush
from typing import Any

from daemon.clock import Clock, Timer
from daemon.store.model import QUEUED, RunRecord
from daemon.workflow.run import WorkflowRun

_SPARE = 100
Waiter = tuple[asyncio.Future[WorkflowRun[Any]], bool]
Wake = Callable[[RunRecord], Coroutine[Any, Any, None]]


class Parking:
    """Keeps whoever waits for the end of a parked run, and wakes the run when it is due.

    All of them share one timer of the clock, which is set for the first that is due.

    Args:
        wake: Goes on with a run if it is due.
        go_on: Goes on with a run, whether it is due or not.
    """

    def __init__(self, clock: Clock, *, wake: Wake, go_on: Wake) -> None:
        self._clock = clock
        self._wake = wake
        self._go_on = go_on
        self._waiters: dict[str, list[Waiter] | None] = {}  # None: nobody, which is what most have
        self._records: dict[str, RunRecord] = {}
        self._due: list[tuple[int, str]] = []  # a heap; those whose run is not parked until then any more mean nothing
        self._timer: tuple[int, Timer] | None = None
        self._waking: set[asyncio.Task[None]] = set()
        self._context = copy_context()  # that of a run which happens to be parked is nothing to the others

    def hold(self, run_id: str, waiters: list[Waiter]) -> None:
        """Keep who waits for a run that nobody drives at the moment."""
        self._waiters[run_id] = [*(self._waiters.get(run_id) or ()), *waiters] or None

    def wake_later(self, record: RunRecord) -> None:
        """Wake a run that is held at its time, if it has one; one that waits for a place, when its time is over."""
        self._records[record.run_id] = record
        due_us = _due_us(record)
        if due_us is not None:
            heappush(self._due, (due_us, record.run_id))
            if len(self._due) > 2 * len(self._records) + _SPARE:
                timed = ((_due_us(each), id_) for id_, each in self._records.items())
                self._due = sorted((due_us, id_) for due_us, id_ in timed if due_us is not None)
        self._set_timer()

    def wake_now(self, run_id: str) -> None:
        """Wake a run that is held, whenever it is due."""
        self._start(self._records[run_id], self._go_on)

    def parked(self, run_id: str) -> RunRecord | None:
        """Return a run that is held until it is due, as it was when it was parked."""
        return self._records.get(run_id)

    @property
    def count(self) -> int:
        """How many runs are held until they are due."""
        return len(self._records)

    def join(self, run_id: str, *, to_the_end: bool = True) -> asyncio.Future[WorkflowRun[Any]] | None:
        """Return what gets the run when it has ended (or is parked again), or None if it is not held."""
        if run_id not in self._waiters:
            return None
        done: asyncio.Future[WorkflowRun[Any]] = asyncio.get_running_loop().create_future()
        self.hold(run_id, [(done, to_the_end)])
        return done

    def take(self, run_id: str) -> list[Waiter]:
        """Return who waits for a run that is driven again, and hold it no longer."""
        if self._records.pop(run_id, None) is not None:
            self._set_timer()
        return self._waiters.pop(run_id, None) or []

    def drop(self, run_id: str, error: BaseException) -> None:
        """Tell whoever waits for a run that it will not go on here."""
        for future, _ in self.take(run_id):
            if not future.done():
                future.set_exception(error)

    def close(self, error: Callable[[str], BaseException]) -> None:
        """Wake nothing any more, and tell whoever waits."""
        for task in self._waking:
            task.cancel()
        for run_id in list(self._waiters):
            self.drop(run_id, error(run_id))

    def _set_timer(self) -> None:
        """Have the first that is due woken in time."""
        while self._due and not self._is_parked_until(*self._due[0]):
            heappop(self._due)
        first_us = self._due[0][0] if self._due else None
        if self._timer is not None:
            set_us, timer = self._timer
            if set_us == first_us:
                return
            timer.cancel()
            self._timer = None
        if first_us is not None:
            delay_s = max(0, first_us - self._clock.now_us()) / 1_000_000
            self._timer = first_us, self._clock.call_later(delay_s, self._wake_due)

    def _wake_due(self) -> None:
        self._timer = None
        now_us = self._clock.now_us()
        while self._due and self._due[0][0] <= now_us:
            due_us, run_id = heappop(self._due)
            if self._is_parked_until(due_us, run_id):
                self._start(self._records[run_id], self._wake)
        self._set_timer()

    def _is_parked_until(self, due_us: int, run_id: str) -> bool:
        record = self._records.get(run_id)
        return record is not None and _due_us(record) == due_us

    def _start(self, record: RunRecord, wake: Wake) -> None:
        loop, context = asyncio.get_running_loop(), self._context.copy()
        task = loop.create_task(wake(record), name=f"wake {record.run_id}", context=context)
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)


def _due_us(record: RunRecord) -> int | None:
    return record.deadline_us if record.waiting_for == QUEUED else record.wake_us
