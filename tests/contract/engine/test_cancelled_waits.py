"""Runs that are cancelled, or fail, just as they begin to wait."""

import asyncio
from typing import Any

import pytest

from daemon import Retry, RunStatus, StepState, parallelize, sleep, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import PutStep, Write
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import SECOND, ended
from tests.contract.engine.processes import CountingStore, Journal, until


class LateStore(CountingStore):
    """A store that takes its time with writing down that a run waits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.before_commit = self._hold

    async def _hold(self, writes: tuple[Write, ...]) -> None:
        if any(isinstance(write, PutStep) and write.record.state is StepState.WAITING for write in writes):
            self.asked.set()
            await self.go_on.wait()


def _sleeping(_: Journal) -> Any:
    @workflow("napping")
    def napping() -> None:
        sleep(10 * SECOND)

    return napping


def _retrying(journal: Journal) -> Any:
    @step("knock", retry=Retry(max_attempts=2, delay=10 * SECOND))
    async def knock() -> None:
        journal.append("knock")
        raise ConnectionError("nobody is in")

    @workflow("knocking")
    def knocking() -> None:
        knock()

    return knocking


@pytest.mark.parametrize("make", [_sleeping, _retrying])
async def test_a_run_that_is_cancelled_while_its_wait_is_written_down_does_not_wait(
    store: Store, clock: ManualClock, journal: Journal, make: Any
) -> None:
    late = LateStore(store)
    process = await living(late, clock, "process-1")

    await make(journal)(process.container).run(run_id="w-1", wait=False)
    await late.asked.wait()
    cancelling = asyncio.create_task(process.engine.cancel("w-1", wait=True))
    await until(lambda: process.engine._live["w-1"].cancelling)
    late.go_on.set()
    async with asyncio.timeout(5):
        run = await cancelling

    assert run.status is RunStatus.CANCELLED
    assert journal in ([], ["knock"])


async def test_a_step_whose_neighbour_fails_while_its_wait_is_written_down_does_not_wait(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    late = LateStore(store)
    process = await living(late, clock, "process-1")

    @step("knock", retry=Retry(max_attempts=2, delay=10 * SECOND))
    async def knock() -> None:
        journal.append("knock")
        raise ConnectionError("nobody is in")

    @step("refuse", retry=Retry.never())
    async def refuse() -> None:
        await late.asked.wait()
        raise ValueError("no")

    @workflow("both")
    def both() -> None:
        parallelize(knock(), refuse())

    await both(process.container).run(run_id="w-1", wait=False)
    await until(lambda: "w-1" in process.engine._live and process.engine._live["w-1"].failing)
    late.go_on.set()
    async with asyncio.timeout(5):
        run = await ended(process, "w-1")

    assert (run.status, journal) == (RunStatus.REVERTED, ["knock"])
