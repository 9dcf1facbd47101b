"""Runs that wait for long, and the one timer that they share."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta

import pytest

from daemon.clock import ManualClock, Timer
from daemon.engine.parking import Parking
from daemon.store.model import RunRecord, RunStatus
from tests.contract import records

SECOND = timedelta(seconds=1)
_who: ContextVar[str] = ContextVar("who", default="nobody")


class CountingClock(ManualClock):
    """A clock that knows how many timers it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        self.timers += 1
        return super().call_later(delay_s, callback)


class Lot:
    """A parking, and what it woke."""

    def __init__(self) -> None:
        self.clock = CountingClock()
        self.woken: list[str] = []
        self.parking = Parking(self.clock, wake=self._wake, go_on=self._wake)

    def park(self, run_id: str, after_s: int) -> None:
        wake_us = self.clock.now_us() + after_s * 1_000_000
        self.parking.hold(run_id, [])
        self.parking.wake_later(records.run(run_id, run_id=run_id, status=RunStatus.WAITING, wake_us=wake_us))

    async def _wake(self, record: RunRecord) -> None:
        self.parking.take(record.run_id)
        self.woken.append(f"{record.run_id} by {_who.get()}")


async def pass_time(lot: Lot, seconds: int) -> None:
    """Let time pass, and what is woken do what it does."""
    for _ in range(seconds):
        lot.clock.advance(SECOND)
        await asyncio.sleep(0)


@pytest.fixture
def lot() -> Lot:
    """An empty parking."""
    return Lot()


async def test_many_runs_share_one_timer_and_each_is_woken_at_its_time(lot: Lot) -> None:
    for number in range(1, 101):
        lot.park(f"run-{number}", after_s=number)
    timers = lot.clock.timers

    await pass_time(lot, 50)

    assert timers == 1
    assert lot.woken == [f"run-{number} by nobody" for number in range(1, 51)]
    assert lot.parking.count == 50


async def test_one_that_is_due_earlier_than_all_others_is_woken_first(lot: Lot) -> None:
    for number in (3, 1, 2):
        lot.park(f"run-{number}", after_s=number)

    await pass_time(lot, 3)

    assert lot.woken == ["run-1 by nobody", "run-2 by nobody", "run-3 by nobody"]


async def test_one_that_was_taken_up_meanwhile_is_not_woken(lot: Lot) -> None:
    lot.park("run-1", after_s=1)
    lot.park("run-2", after_s=2)

    lot.parking.take("run-1")
    due_s = lot.clock.next_due_s()
    await pass_time(lot, 3)

    assert due_s == 2
    assert lot.woken == ["run-2 by nobody"]
    assert lot.clock.next_due_s() is None


async def test_one_that_is_parked_anew_is_woken_at_its_new_time_alone(lot: Lot) -> None:
    for _ in range(1_000):
        lot.park("run-1", after_s=2)
        lot.parking.take("run-1")
        await pass_time(lot, 1)
    lot.park("run-1", after_s=2)

    await pass_time(lot, 5)

    assert lot.woken == ["run-1 by nobody"]


async def test_a_run_wakes_in_no_other_runs_context(lot: Lot) -> None:
    token = _who.set("the run that happened to be parked first")
    lot.park("run-1", after_s=1)
    _who.reset(token)
    lot.park("run-2", after_s=1)

    await pass_time(lot, 1)

    assert lot.woken == ["run-1 by nobody", "run-2 by nobody"]


async def test_the_wall_clock_decides_when_it_was_set_back(lot: Lot) -> None:
    lot.park("run-1", after_s=2)
    lot.clock.jump(-SECOND)

    await pass_time(lot, 2)
    before = list(lot.woken)
    await pass_time(lot, 1)

    assert before == []
    assert lot.woken == ["run-1 by nobody"]
