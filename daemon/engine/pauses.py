"""Waits of a run for its next attempt or a timer: what is noted of them, and how they end."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from daemon.engine.control import Parked
from daemon.store.model import RunStatus

if TYPE_CHECKING:
    from daemon.engine.execution import Execution

AWAY_S = 2.0


def set_waiting(run: "Execution", due_us: int, waiting_for: str) -> None:
    """Note that a run waits, and with it every run that it is inside of and in which nothing else may be running."""
    each: Execution | None = run
    while each is not None and not each.abreast:
        parked = Parked(due_us, waiting_for).within(each.record.deadline_us)
        each.set_status(RunStatus.WAITING, parked.wake_us, waiting_for)
        each = each.parent


def set_running(run: "Execution") -> None:
    """Note that a run goes on, and with it every run that it is inside of."""
    each: Execution | None = run
    while each is not None:
        each.set_status(RunStatus.RUNNING)
        each = each.parent


async def wait_until(run: "Execution", due_us: int, waiting_for: str) -> None:
    """Wait for a retry or a timer, at most until the run begins to fail. Raises `Parked` if that is far off."""
    left_s = (due_us - run.ports.clock.now_us()) / 1_000_000
    if left_s > run.ports.park_after_s:
        raise Parked(due_us, waiting_for)
    if left_s <= 0:
        return
    sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run.sleepers.add(sleeper)
    timer = run.ports.clock.call_later(left_s, partial(wake, sleeper))
    try:
        await sleeper
    finally:
        timer.cancel()
        run.sleepers.discard(sleeper)


async def outlast(run: "Execution") -> None:
    """Wait for a store that something has missed: two seconds, or until the run begins to fail, then until it is back.

    Raises:
        Fenced: Another process has taken the run over meanwhile.
        Parked: Two seconds are far off.
    """
    await wait_until(run, run.ports.clock.now_us() + round(AWAY_S * 1_000_000), "the store")
    await run.journal.flush()


def wake(sleeper: asyncio.Future[None]) -> None:
    """End a wait, unless it has ended."""
    if not sleeper.done():
        sleeper.set_result(None)
