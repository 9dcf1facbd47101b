"""Runs that are cancelled: while they run and wait, and after their end; here, elsewhere and after a crash."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    Ref,
    Retry,
    RunNotFound,
    RunStateError,
    RunStatus,
    StepState,
    WorkflowFailed,
    parallelize,
    step,
    transform,
    wait_for_event,
    workflow,
)
from daemon.clock import ManualClock
from daemon.engine.recovery import Recovery
from daemon.store.port import Store
from tests.contract.engine.outside import Paid
from tests.contract.engine.processes import APP, Journal, Process, until
from tests.contract.engine.slow import Slow


def _waiting(journal: Journal, *, delay: timedelta = timedelta(hours=1)) -> Any:
    """Return a workflow that waits for a retry, and whoever accepts None is undone."""
    first = journal.step("first")

    @step("knock", retry=Retry(max_attempts=2, delay=delay))
    async def knock() -> None:
        journal.append("knock")
        raise ConnectionError("nobody is in")

    @knock.compensate
    async def leave(_: None) -> None:
        journal.append("undo knock")

    @workflow("knocking")
    def knocking() -> None:
        first()
        knock()

    return knocking


async def _process(store: Store, clock: ManualClock, owner: str) -> Process:
    process = Process(store, clock, owner)
    await process.announce()
    return process


async def test_a_running_step_is_awaited_then_everything_is_undone_and_nothing_new_starts(
    shop: Process, journal: Journal
) -> None:
    first, slow, last = journal.step("first"), Slow(journal), journal.step("last")

    @workflow("stopping")
    def stopping() -> None:
        first()
        slow.step()
        last()

    await stopping(shop.container).run(run_id="stopping-1", wait=False)
    await slow.entered.wait()
    asked = await shop.engine.cancel("stopping-1")
    slow.go_on.set()
    with pytest.raises(WorkflowFailed, match="was cancelled; rolled back: slow, first") as failed:
        await stopping(shop.container).run(run_id="stopping-1")

    assert asked.status is RunStatus.RUNNING
    assert journal == ["first", "slow", "undo slow", "undo first"]
    assert failed.value.run.status is RunStatus.CANCELLED
    assert failed.value.run.errors == []
    assert (await shop.engine.get("stopping-1")).compensated == ["slow", "first"]


async def test_nothing_more_is_computed_or_waited_for(shop: Process, journal: Journal) -> None:
    slow = Slow(journal)

    def compute(_: str) -> str:
        journal.append("computed")
        return "key"

    @workflow("computing")
    def computing() -> None:
        wait_for_event(Paid, key=transform(slow.step(), compute), match=lambda event: event.order_id)

    await computing(shop.container).run(run_id="computing-1", wait=False)
    await slow.entered.wait()
    await shop.engine.cancel("computing-1")
    slow.go_on.set()
    await until(lambda: shop.engine.running == 0, what="it has ended")
    run = await shop.engine.get("computing-1")

    assert (run.status, list(run.steps)) == (RunStatus.CANCELLED, ["slow"])
    assert journal == ["slow", "undo slow"]


async def test_a_run_whose_last_step_was_running_is_cancelled_too(shop: Process, journal: Journal) -> None:
    slow = Slow(journal)

    @workflow("ending")
    def ending() -> Ref[str]:
        return slow.step()

    await ending(shop.container).run(run_id="ending-1", wait=False)
    await slow.entered.wait()
    cancelling = asyncio.create_task(shop.engine.cancel("ending-1", wait=True))
    await until(lambda: shop.engine._live["ending-1"].cancelling)
    slow.go_on.set()
    run = await cancelling

    assert run.status is RunStatus.CANCELLED
    assert journal == ["slow", "undo slow"]


async def test_every_member_of_a_group_is_awaited_and_none_is_tried_again(shop: Process, journal: Journal) -> None:
    left, right = Slow(journal, "left"), Slow(journal, "right", fails=True)

    @workflow("both")
    def both() -> None:
        parallelize(left.step(), right.step())

    await both(shop.container).run(run_id="both-1", wait=False)
    await left.entered.wait()
    await right.entered.wait()
    cancelling = asyncio.create_task(shop.engine.cancel("both-1", wait=True))
    await until(lambda: shop.engine._live["both-1"].cancelling)
    right.go_on.set()
    await until(lambda: shop.engine._live["both-1"].steps["right"].state is StepState.FAILED)
    early = list(journal)
    left.go_on.set()
    run = await cancelling

    assert sorted(early) == ["left", "right"]
    assert journal[2:] == ["undo left"]
    assert run.status is RunStatus.CANCELLED
    assert [(error.step, len(error.attempts)) for error in run.errors] == [("right", 1)]


async def test_a_run_that_waits_for_a_retry_in_a_task_is_woken(shop: Process, journal: Journal) -> None:
    knocking = _waiting(journal, delay=timedelta(seconds=10))
    await knocking(shop.container).run(run_id="knocking-1", wait=False)
    await until(lambda: shop.engine._live["knocking-1"].sleepers)

    run = await shop.engine.cancel("knocking-1", wait=True)

    assert run.status is RunStatus.CANCELLED
    assert journal == ["first", "knock", "undo knock", "undo first"]


async def test_a_parked_run_is_woken_and_whoever_waits_for_it_is_told(shop: Process, journal: Journal) -> None:
    knocking = _waiting(journal)
    parked = await knocking(shop.container).run(run_id="knocking-1")
    waiting = asyncio.create_task(knocking(shop.container).run(run_id="knocking-1", wait=True, raise_on_error=False))
    await until(lambda: shop.engine._parking._waiters.get("knocking-1"), what="it waits for the end")
    run = await shop.engine.cancel("knocking-1", wait=True)

    assert parked.status is RunStatus.WAITING
    assert run.status is RunStatus.CANCELLED
    assert run.waiting_for == ""
    assert [error.step for error in run.errors] == ["knock"]
    assert journal == ["first", "knock", "undo knock", "undo first"]
    assert (await waiting).status is RunStatus.CANCELLED


async def test_a_run_that_has_ended_cannot_be_cancelled_and_the_error_says_how_it_ended(
    shop: Process, journal: Journal
) -> None:
    first = journal.step("first")

    @workflow("quick")
    def quick() -> None:
        first()

    await quick(shop.container).run(run_id="quick-1")

    with pytest.raises(RunStateError, match=r"^Run 'quick-1' cannot be cancelled: it has ended, completed\.$"):
        await shop.engine.cancel("quick-1")
    with pytest.raises(RunNotFound):
        await shop.engine.cancel("quick-2")
    assert (await shop.engine.get("quick-1")).status is RunStatus.COMPLETED


async def test_a_cancelled_run_that_is_asked_for_again_runs_afresh(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    knocking = _waiting(journal)
    await knocking(shop.container).run(run_id="knocking-1")
    await shop.engine.cancel("knocking-1", wait=True)

    again = await knocking(shop.container).run(run_id="knocking-1")
    clock.advance(timedelta(minutes=1))

    assert (again.attempt, again.status) == (2, RunStatus.WAITING)
    assert journal[-2:] == ["first", "knock"]


async def test_the_request_reaches_the_process_that_has_the_run(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    here, there = [await _process(store, clock, name) for name in ("here", "there")]
    recovery = Recovery(there.engine, store, clock, app=APP, owner="there", claims=False)
    await recovery.start()
    slow, knocking = Slow(journal), _waiting(Journal())

    @workflow("far")
    def far() -> None:
        slow.step()

    await far(there.container).run(run_id="far-1", wait=False)
    await knocking(there.container).run(run_id="knocking-1")
    await slow.entered.wait()
    asked = await here.engine.cancel("far-1")
    await until(lambda: there.engine._live["far-1"].cancelling)
    slow.go_on.set()
    await until(lambda: not there.engine.running)
    await here.engine.cancel("knocking-1")

    def is_woken() -> bool:
        clock.advance(timedelta(seconds=0.1))  # it may be looking still for what was asked before
        return there.engine._parking.parked("knocking-1") is None and not there.engine.running

    await until(is_woken)
    runs = [await here.engine.get(run_id) for run_id in ("far-1", "knocking-1")]
    await recovery.retire()
    await there.engine.drain(0)

    assert asked.status is RunStatus.RUNNING
    assert journal == ["slow", "undo slow"]
    assert [run.status for run in runs] == [RunStatus.CANCELLED] * 2


async def test_a_request_survives_the_process_and_what_it_was_doing_is_in_doubt(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    first, slow = journal.step("first"), Slow(journal)

    @workflow("dying")
    def dying() -> None:
        first()
        slow.step()

    knocking = _waiting(Journal())
    await dying(old.container).run(run_id="dying-1", wait=False)
    await knocking(old.container).run(run_id="knocking-1")
    await slow.entered.wait()
    await new.engine.cancel("dying-1")
    await new.engine.cancel("knocking-1")
    await old.die()
    await new.take_over(dying, knocking)
    await until(lambda: not new.engine.running)
    in_doubt, parked = [await new.engine.get(run_id) for run_id in ("dying-1", "knocking-1")]

    assert journal == ["first", "slow", "undo first"]
    assert in_doubt.status is RunStatus.FAILED
    assert "slow may have run" in str(in_doubt.failure())
    assert parked.status is RunStatus.CANCELLED
