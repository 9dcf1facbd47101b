"""Runs, and what steps and compensations do in them, while the store cannot be read: they go on as soon as it can."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    Ref,
    Retry,
    RunStatus,
    SourceStep,
    StepContext,
    StoreUnavailableError,
    parallelize,
    sleep,
    step,
    wait_for_event,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, SECOND, Paid, ended, tell
from tests.contract.engine.processes import Journal, Process, until

BACK = 2 * SECOND  # after this, what has missed the store is tried again


class AwayStore:
    """A store that cannot be read for a time; what is written waits for it, as the protocol says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_away = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("steps", "signal", "children"):
            return found

        async def read(*args: Any, **kwargs: Any) -> Any:
            if self.is_away:
                msg = "The database cannot be read: it is away."
                raise StoreUnavailableError(msg)
            return await found(*args, **kwargs)

        return read


async def test_a_run_that_is_due_while_the_store_is_away_goes_on_when_it_is_back(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    after = journal.step("after")

    @workflow("sleeper")
    def sleeper() -> Ref[str]:
        sleep(DAY)
        return after()

    await sleeper(process.container).run(run_id="s-1")
    away.is_away = True
    clock.advance(DAY + timedelta(seconds=1))
    await until(lambda: process.engine.strays.suspected)
    away.is_away = False
    await process.engine.heed()
    run = await ended(process, "s-1")

    assert (run.status, journal) == (RunStatus.COMPLETED, ["after"])


async def test_a_run_that_waits_while_the_store_goes_away_goes_on_when_it_is_back(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    before = journal.step("before")

    @workflow("waiter")
    def waiter() -> Ref[Paid]:
        before()
        return wait_for_event(Paid, key="o-1", match=lambda event: event.order_id)

    away.is_away = True
    with pytest.raises(StoreUnavailableError):
        await waiter(process.container).run(run_id="w-1")
    away.is_away = False
    await process.engine.heed()
    await until(lambda: process.engine._parking.parked("w-1"))
    await tell(process, Paid(order_id="o-1"))
    run = await ended(process, "w-1")

    assert (run.status, journal) == (RunStatus.COMPLETED, ["before"])
    assert not process.engine.running


async def _asking(process: Process, journal: Journal) -> SourceStep[str, str]:
    """Return a step that asks for another run."""
    known = journal.step("known")

    @workflow("knowing")
    def knowing() -> Ref[str]:
        return known()

    @step("ask", retry=Retry.never())
    async def ask() -> str:
        journal.append("ask")
        return (await process.engine.get("k-1")).run_id

    @ask.compensate
    async def take_back(found: str | None) -> None:
        journal.append(f"undo ask {found}")

    await knowing(process.container).run(run_id="k-1")
    journal.clear()
    return ask


async def test_a_step_that_misses_the_store_is_tried_again_and_that_is_no_attempt(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    ask, beside = await _asking(process, journal), journal.step("beside")

    @workflow("asking")
    def asking() -> None:
        parallelize(ask(), beside())

    away.is_away = True
    running = asyncio.create_task(asking(process.container).run(run_id="a-1"))
    await until(lambda: clock.next_due_s() is not None)
    clock.advance(BACK)
    await until(lambda: len(journal) == 3)
    await until(lambda: clock.next_due_s() is not None)
    away.is_away = False
    clock.advance(BACK)
    run = await running

    assert (run.status, journal) == (RunStatus.COMPLETED, ["ask", "beside", "ask", "ask"])
    assert run.steps["ask"].attempts == 1


async def test_a_compensation_that_misses_the_store_is_tried_again_and_that_is_no_attempt(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    broken = journal.failing()
    await _asking(process, journal)

    @step("told", compensation_retry=Retry.never())
    async def told() -> str:
        return "told"

    @told.compensate
    async def take_back(_: str, ctx: StepContext) -> None:
        journal.append(f"take back {ctx.attempt}")
        await process.engine.get("k-1")

    @workflow("telling")
    def telling() -> None:
        told()
        broken()

    away.is_away = True
    running = asyncio.create_task(telling(process.container).run(run_id="t-1", raise_on_error=False))
    await until(lambda: clock.next_due_s() is not None)
    away.is_away = False
    clock.advance(BACK)
    run = await running

    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["told"])
    assert journal == ["break", "take back 1", "take back 1"]


async def test_a_run_that_is_cancelled_while_its_step_misses_the_store_ends_at_once(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    ask = await _asking(process, journal)

    @workflow("asking")
    def asking() -> None:
        ask()

    away.is_away = True
    await asking(process.container).run(run_id="a-1", wait=False)
    await until(lambda: clock.next_due_s() is not None)
    run = await process.engine.cancel("a-1", wait=True)

    assert (run.status, journal) == (RunStatus.CANCELLED, ["ask", "undo ask None"])
    assert run.steps["ask"].attempts == 1
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("ask", "StoreUnavailableError")]


async def test_a_run_whose_time_is_up_while_its_step_misses_the_store_is_undone(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    first, ask = journal.step("first"), await _asking(process, journal)

    @workflow("asking", timeout=SECOND)
    def asking() -> None:
        first()
        ask()

    away.is_away = True
    running = asyncio.create_task(asking(process.container).run(run_id="a-1", raise_on_error=False))
    await until(lambda: "ask" in journal and clock.next_due_s() is not None)
    await until(lambda: process.engine._live["a-1"].sleepers)
    clock.advance(SECOND)
    run = await running

    assert (run.status, journal) == (RunStatus.REVERTED, ["first", "ask", "undo ask None", "undo first"])
