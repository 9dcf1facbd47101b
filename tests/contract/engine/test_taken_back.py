"""A process that loses its lease, and gets a run back which it still drives as if it had never been away."""

import asyncio
import time
from datetime import timedelta

import pytest

from daemon import Ref, RunStatus, sleep, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import WorkflowBase
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import APP, Journal, Process, until


async def _lose_and_regain(process: Process, clock: ManualClock, flow: WorkflowBase) -> None:
    """Have another process take the runs over, and die without having touched them."""
    store = process.store
    await store.retire(process.owner)  # its lease is over, and it does not know
    other = await living(store, clock, "other")
    give_up_s = time.monotonic() + 5.0
    while not await store.claim_runs(APP, other.owner, [flow.name], limit=10):
        assert time.monotonic() < give_up_s, "it cannot be taken over"
        await asyncio.sleep(0.001)  # what is just being written is left to the next look
    await store.retire(other.owner)
    await process.announce()
    assert await process.take_over(flow)


async def test_a_run_that_was_lost_and_regained_is_driven_once(shop: Process, clock: ManualClock) -> None:
    entered: list[asyncio.Event] = []
    go_on = asyncio.Event()
    ended: list[str] = []

    @step("slow")
    async def slow() -> str:
        entered.append(asyncio.Event())
        await go_on.wait()
        ended.append("slow")
        return "output"

    @workflow("regained")
    def regained() -> Ref[str]:
        return slow()

    caller = asyncio.create_task(regained(shop.container).run(run_id="r-1"))
    await until(lambda: len(entered) == 1)
    await _lose_and_regain(shop, clock, regained)
    await until(lambda: len(entered) == 2)
    go_on.set()
    run = await caller

    assert (run.status, run.result, ended) == (RunStatus.COMPLETED, "output", ["slow"])


async def test_an_execution_from_before_a_run_was_lost_writes_nothing(
    store: Store, shop: Process, clock: ManualClock, journal: Journal
) -> None:
    first, entered, go_on = journal.step("first"), asyncio.Event(), asyncio.Event()

    @step("stubborn")
    async def stubborn() -> str:
        journal.append("stubborn")
        entered.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                journal.append("not yet")
        return f"output-{journal.count('stubborn')}"

    @workflow("stubborn-flow")
    def flow() -> Ref[str]:
        first()
        return stubborn()

    caller = asyncio.create_task(flow(shop.container).run(run_id="r-1"))
    await entered.wait()
    await _lose_and_regain(shop, clock, flow)
    await until(lambda: "not yet" in journal)
    between = await store.run(APP, "r-1")
    go_on.set()
    run = await caller

    assert between is not None
    assert (between.status, between.epoch) == (RunStatus.RUNNING, 2)
    assert run.result == "output-2"
    assert journal == ["first", "stubborn", "not yet", "stubborn"]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_run_that_is_parked_wakes_once_however_often_it_was_lost(
    shop: Process, clock: ManualClock, journal: Journal, times: int
) -> None:
    last = journal.step("last")

    @workflow("sleeper")
    def sleeper() -> Ref[str]:
        sleep(timedelta(hours=1))
        return last()

    parked = await sleeper(shop.container).run(run_id="s-1", wait=None)
    for _ in range(times):
        await _lose_and_regain(shop, clock, sleeper)
    caller = asyncio.create_task(sleeper(shop.container).run(run_id="s-1", wait=True))
    clock.advance(timedelta(hours=1))
    run = await caller

    assert parked.status is RunStatus.WAITING
    assert run.status is RunStatus.COMPLETED
    assert journal == ["last"]


async def test_a_run_that_is_lost_while_it_is_woken_goes_on(shop: Process, clock: ManualClock) -> None:
    go_on = asyncio.Event()

    @step("last")
    async def last() -> str:
        await go_on.wait()
        return "output"

    @workflow("sleeper")
    def sleeper() -> Ref[str]:
        sleep(timedelta(hours=1))
        return last()

    await sleeper(shop.container).run(run_id="s-1", wait=None)
    clock.advance(timedelta(hours=1))
    await asyncio.sleep(0)  # it is on its way: read from the store, or driven already
    await _lose_and_regain(shop, clock, sleeper)
    go_on.set()
    run = await sleeper(shop.container).run(run_id="s-1", wait=True)

    assert run.result == "output"
