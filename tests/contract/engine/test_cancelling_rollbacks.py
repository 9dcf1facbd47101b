"""Runs that are cancelled while they roll back."""

import asyncio
from datetime import timedelta

from daemon import (
    Retry,
    RunStatus,
    step,
    workflow,
)
from daemon.clock import ManualClock
from tests.contract.engine.processes import Journal, Process, until
from tests.contract.engine.slow import Slow


async def test_a_run_that_rolls_back_goes_on_with_it_and_ends_cancelled(shop: Process, journal: Journal) -> None:
    first, broken = journal.step("first"), journal.failing()
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("second")
    async def second() -> str:
        return "second"

    @second.compensate
    async def undo(_: str) -> None:
        entered.set()
        await go_on.wait()
        journal.append("undo second")

    @workflow("retreating")
    def retreating() -> None:
        first()
        second()
        broken()

    await retreating(shop.container).run(run_id="retreating-1", wait=False)
    await entered.wait()
    asked = await shop.engine.cancel("retreating-1")
    again = await shop.engine.cancel("retreating-1")
    go_on.set()
    run = await retreating(shop.container).run(run_id="retreating-1", raise_on_error=False)

    assert asked.status is again.status is RunStatus.COMPENSATING
    assert run.status is RunStatus.CANCELLED
    assert run.compensated == ["second", "first"]
    assert [error.step for error in run.errors] == ["break"]
    assert journal == ["first", "break", "undo second", "undo first"]


async def test_the_wait_of_a_compensation_for_its_retry_is_not_cut_short(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    stuck = journal.step(
        "stuck",
        undo_fails=OSError("not yet"),
        compensation_retry=Retry(max_attempts=2, delay=timedelta(hours=1), max_delay=timedelta(hours=1)),
    )
    broken = journal.failing()

    @workflow("sticking")
    def sticking() -> None:
        stuck()
        broken()

    await sticking(shop.container).run(run_id="sticking-1")
    asked = await shop.engine.cancel("sticking-1")
    before = list(journal)
    cancelling = asyncio.create_task(shop.engine.cancel("sticking-1", wait=True))
    await until(lambda: shop.engine._parking._waiters.get("sticking-1"), what="it waits for the end")
    clock.advance(timedelta(hours=1))
    run = await cancelling

    assert asked.status is RunStatus.COMPENSATING
    assert before == ["stuck", "break", "undo stuck"]
    assert journal == [*before, "undo stuck"]
    assert run.status is RunStatus.FAILED


async def test_a_cancelled_run_of_which_something_cannot_be_undone_ends_failed(shop: Process, journal: Journal) -> None:
    first, slow = journal.step("first", undo_fails=OSError("gone")), Slow(journal)

    @workflow("half")
    def half() -> None:
        first()
        slow.step()

    await half(shop.container).run(run_id="half-1", wait=False)
    await slow.entered.wait()
    await shop.engine.cancel("half-1")
    slow.go_on.set()
    run = await half(shop.container).run(run_id="half-1", raise_on_error=False)

    assert run.status is RunStatus.FAILED
    assert "ROLLBACK INCOMPLETE: the compensation of first failed" in str(run.failure())
