"""The way of runs and steps from state to state: what the rarer transitions are, and that there are no others."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import Retry, RunStateError, RunStatus, SourceStep, StepState, sleep, step, workflow
from daemon.clock import ManualClock
from daemon.store.model import RunRecord
from tests.contract.engine.processes import APP, Journal, Process, until


def slow(name: str, **options: Any) -> SourceStep[str, str]:
    """Return a step that outlives its timeout, and that nobody can undo then."""

    @step(name, timeout=timedelta(minutes=1), **options)
    async def act() -> str:
        await asyncio.Event().wait()
        return "never"

    @act.compensate
    async def undo(data: str) -> None:
        raise AssertionError(data)

    return act


async def to_the_next_timer(clock: ManualClock) -> None:
    """Wait until somebody waits, and move the clock to that moment."""
    await until(lambda: clock.next_due_s() is not None, what="somebody waits")
    clock.advance(timedelta(seconds=clock.next_due_s() or 0))


async def row(process: Process, run_id: str) -> RunRecord:
    """Return what is stored of a run."""
    found = await process.store.run(APP, run_id)
    assert found is not None
    return found


async def test_a_child_that_had_completed_is_undone_with_its_parent(shop: Process, journal: Journal) -> None:
    pack, refuse = journal.step("pack"), journal.failing("refuse")

    @workflow("packing")
    def packing() -> None:
        pack()

    @workflow("sending")
    def sending() -> None:
        packing.as_step()
        refuse()

    run = await sending(shop.container).run(run_id="sent", raise_on_error=False)

    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["packing"])
    assert run.steps["packing"].state is StepState.COMPENSATED
    assert (await row(shop, "sent:packing")).status is RunStatus.REVERTED


async def test_a_child_of_which_nothing_is_to_be_undone_ends_reverted_and_its_step_stays_completed(
    shop: Process, journal: Journal
) -> None:
    @step("look")
    async def look() -> None:
        """Leave nothing behind."""

    refuse = journal.failing("refuse")

    @workflow("looking")
    def looking() -> None:
        look()

    @workflow("choosing")
    def choosing() -> None:
        looking.as_step()
        refuse()

    run = await choosing(shop.container).run(run_id="chosen", raise_on_error=False)

    assert (run.status, run.compensated) == (RunStatus.REVERTED, [])
    assert run.steps["looking"].state is StepState.COMPLETED
    assert (await row(shop, "chosen:looking")).status is RunStatus.REVERTED


async def test_a_child_that_completed_in_spite_of_a_step_in_doubt_ends_failed_with_its_parent(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    charge, refuse = slow("charge", on_failure="continue"), journal.failing("refuse")

    @workflow("charging")
    def charging() -> None:
        charge()

    @workflow("buying")
    def buying() -> None:
        charging.as_step()
        refuse()

    running = asyncio.create_task(buying(shop.container).run(run_id="bought", raise_on_error=False))
    await to_the_next_timer(clock)
    run = await running

    assert (run.status, run.compensated) == (RunStatus.FAILED, [])
    assert run.steps["charging"].state is StepState.COMPENSATION_FAILED
    assert (await row(shop, "bought:charging")).status is RunStatus.FAILED
    with pytest.raises(RunStateError, match="none of its compensations gave up"):
        await shop.engine.retry("bought")


async def test_a_child_that_has_its_end_keeps_it_when_the_rollback_is_cancelled_later(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    wait = Retry(max_attempts=2, delay=timedelta(hours=1))
    first = journal.step("first", undo_fails=ConnectionError("away"), compensation_retry=wait)
    refuse = journal.failing("refuse")

    @workflow("refusing")
    def refusing() -> None:
        refuse()

    @workflow("asking")
    def asking() -> None:
        first()
        refusing.as_step()

    parked = await asking(shop.container).run(run_id="asked")
    await shop.engine.cancel("asked")
    running = asyncio.create_task(asking(shop.container).run(run_id="asked", raise_on_error=False, wait=True))
    await until(lambda: shop.engine._parking._waiters.get("asked"), what="it waits for the end")
    await to_the_next_timer(clock)
    run = await running

    assert (parked.status, run.status) == (RunStatus.COMPENSATING, RunStatus.FAILED)
    assert (await row(shop, "asked:refusing")).status is RunStatus.REVERTED


async def test_a_run_that_is_cancelled_while_its_only_step_runs_ends_cancelled_at_once(shop: Process) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("think")
    async def think() -> None:
        entered.set()
        await go_on.wait()

    @workflow("thinking")
    def thinking() -> None:
        think()

    running = asyncio.create_task(thinking(shop.container).run(run_id="thought", raise_on_error=False))
    await entered.wait()
    await shop.engine.cancel("thought")
    go_on.set()
    run = await running

    assert (run.status, run.steps["think"].state) == (RunStatus.CANCELLED, StepState.COMPLETED)


async def test_a_run_that_waits_for_the_next_attempt_of_a_step_in_doubt_fails_when_it_is_cancelled(
    shop: Process, clock: ManualClock
) -> None:
    charge = slow("charge", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))

    @workflow("charging-once-more")
    def charging() -> None:
        charge()

    running = asyncio.create_task(charging(shop.container).run(run_id="charged"))
    await to_the_next_timer(clock)
    parked = await running
    run = await shop.engine.cancel("charged", wait=True)

    assert (parked.status, run.status) == (RunStatus.WAITING, RunStatus.FAILED)


async def test_a_timer_that_is_slept_through_is_completed(shop: Process, clock: ManualClock) -> None:
    @workflow("dozing")
    def dozing() -> None:
        sleep(timedelta(seconds=20))

    running = asyncio.create_task(dozing(shop.container).run(run_id="dozed"))
    await to_the_next_timer(clock)
    run = await running

    assert (run.status, run.steps["sleep-1"].state) == (RunStatus.COMPLETED, StepState.COMPLETED)


async def test_a_run_whose_time_is_up_while_it_sleeps_ends_reverted_and_its_timer_skipped(
    shop: Process, clock: ManualClock
) -> None:
    @workflow("sleeping", timeout=timedelta(hours=1))
    def sleeping() -> None:
        sleep(timedelta(days=1))

    parked = await sleeping(shop.container).run(run_id="slept")
    running = asyncio.create_task(sleeping(shop.container).run(run_id="slept", raise_on_error=False, wait=True))
    await until(lambda: shop.engine._parking._waiters.get("slept"), what="it waits for the end")
    await to_the_next_timer(clock)
    run = await running

    assert (parked.status, run.status) == (RunStatus.WAITING, RunStatus.REVERTED)
    assert run.steps["sleep-1"].state is StepState.SKIPPED
