"""Runs that wait for long: they cost a timer, and no task."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from daemon.clock import Clock, Timer
from daemon.store.model import RunRecord
from daemon.workflow.run import WorkflowRun

Waiter = tuple[asyncio.Future[WorkflowRun[Any]], bool]
Wake = Callable[[RunRecord], Coroutine[Any, Any, None]]


class Parking:
    """Keeps whoever waits for the end of a parked run, and wakes the run when it is due.

    Args:
        wake: Goes on with a run if it is due.
        go_on: Goes on with a run, whether it is due or not.
    """

    def __init__(self, clock: Clock, *, wake: Wake, go_on: Wake) -> None:
        self._clock = clock
        self._wake = wake
        self._go_on = go_on
        self._waiters: dict[str, list[Waiter]] = {}
        self._timers: dict[str, Timer] = {}
        self._records: dict[str, RunRecord] = {}
        self._waking: set[asyncio.Task[None]] = set()

    def hold(self, run_id: str, waiters: list[Waiter]) -> None:
        """Keep who waits for a run that nobody drives at the moment."""
        self._waiters.setdefault(run_id, []).extend(waiters)

    def wake_later(self, record: RunRecord) -> None:
        """Wake a run that is held at its time, if it has one."""
        self._records[record.run_id] = record
        if record.wake_us is not None:
            self._forget_timer(record.run_id)
            delay_s = max(0, record.wake_us - self._clock.now_us()) / 1_000_000
            self._timers[record.run_id] = self._clock.call_later(delay_s, lambda: self._start(record, self._wake))

    def wake_now(self, run_id: str) -> None:
        """Wake a run that is held, whenever it is due."""
        self._forget_timer(run_id)
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
        waiters = self._waiters.get(run_id)
        if waiters is None:
            return None
        done: asyncio.Future[WorkflowRun[Any]] = asyncio.get_running_loop().create_future()
        waiters.append((done, to_the_end))
        return done

    def take(self, run_id: str) -> list[Waiter]:
        """Return who waits for a run that is driven again, and hold it no longer."""
        self._forget_timer(run_id)
        self._records.pop(run_id, None)
        return self._waiters.pop(run_id, [])

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

    def _forget_timer(self, run_id: str) -> None:
        timer = self._timers.pop(run_id, None)
        if timer is not None:
            timer.cancel()

    def _start(self, record: RunRecord, wake: Wake) -> None:
        self._timers.pop(record.run_id, None)
        task = asyncio.get_running_loop().create_task(wake(record), name=f"wake {record.run_id}")
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)
