"""A process that is told to stop: what it finishes, and what another one goes on with."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, Retry, RunStatus, StepContext, StoreUnavailableError, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.outside import ended
from tests.contract.engine.processes import Journal, Process


async def _process(store: Any, clock: ManualClock, owner: str) -> Process:
    process = Process(store, clock, owner)
    await process.announce()
    return process


async def test_what_a_drain_cancels_is_resumed_elsewhere_with_the_same_key(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    keys: list[str] = []
    entered = asyncio.Event()
    first = journal.step("first")

    @step("second")
    async def second(value: str, ctx: StepContext) -> str:
        keys.append(ctx.idempotency_key)
        entered.set()
        if len(keys) == 1:
            await asyncio.Event().wait()
        return value

    @second.compensate
    async def undo(_: str | None) -> None:
        journal.append("never")

    @workflow("moving")
    def moving() -> Ref[str]:
        return second(first())

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    caller = asyncio.create_task(moving(old.container).run(run_id="moving-1"))
    await entered.wait()
    await old.die()
    with pytest.raises(StoreUnavailableError, match="goes on where it stands"):
        await caller
    meanwhile = await new.engine.get("moving-1")
    claimed = await new.take_over(moving)
    run = await moving(new.container).run(run_id="moving-1")

    assert meanwhile.status is RunStatus.RUNNING
    assert [record.run_id for record in claimed] == ["moving-1"]
    assert (run.result, run.attempt) == ("first-output", 1)
    assert journal == ["first"]
    assert keys == ["shop:moving-1:1:second"] * 2


async def test_a_step_that_finishes_while_it_is_drained_is_not_repeated(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("stubborn")
    async def stubborn() -> str:
        journal.append("stubborn")
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    last = journal.step("last")

    @workflow("draining")
    def draining() -> Ref[str]:
        result = stubborn()
        last()
        return result

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    run = await draining(old.container).run(run_id="draining-1", wait=False)
    await entered.wait()
    await old.die()
    await new.take_over(draining)
    run = await draining(new.container).run(run_id="draining-1")

    assert journal == ["stubborn", "last"]
    assert run.result == "done all the same"


async def test_a_step_that_breaks_because_it_is_drained_has_not_failed(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("fragile")
    async def fragile() -> str:
        journal.append("fragile")
        entered.set()
        if len(journal) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError from None
        return "done"

    @workflow("breaking")
    def breaking() -> Ref[str]:
        return fragile()

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    await breaking(old.container).run(run_id="breaking-1", wait=False)
    await entered.wait()
    await old.die()
    await new.take_over(breaking)
    run = await breaking(new.container).run(run_id="breaking-1")

    assert run.result == "done"
    assert journal == ["fragile", "fragile"]


async def test_a_compensation_that_breaks_because_it_is_drained_has_not_given_up(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("act", compensation_retry=Retry.never())
    async def act() -> str:
        return "done"

    @act.compensate
    async def fragile(_: str) -> None:
        journal.append("undo")
        entered.set()
        if len(journal) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError from None

    @workflow("breaking-back")
    def breaking_back() -> None:
        act()
        Journal().failing()()

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    await breaking_back(old.container).run(run_id="breaking-1", wait=False)
    await entered.wait()
    await old.die()
    await new.take_over(breaking_back)
    run = await ended(new, "breaking-1")

    assert run.status is RunStatus.REVERTED
    assert journal == ["undo", "undo"]


async def test_a_drain_lets_runs_finish_that_need_little_time(shop: Process, journal: Journal) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    inner_step = journal.step("inner-step")

    @workflow("inner")
    def inner() -> Ref[str]:
        return inner_step()

    @step("outer-step")
    async def outer_step(_: int, ctx: StepContext) -> str:
        entered.set()
        await go_on.wait()
        return (await inner(ctx.container).run()).result

    @workflow("outer")
    def outer(value: Ref[int]) -> Ref[str]:
        return outer_step(value)

    running = asyncio.create_task(outer(shop.container).run(1))
    await entered.wait()
    draining = asyncio.create_task(shop.engine.drain(5.0))
    await asyncio.sleep(0)
    go_on.set()
    run = await running
    await draining

    assert run.result == "inner-step-output"
    with pytest.raises(StoreUnavailableError, match="starts no runs"):
        await outer(shop.container).run(1)


async def test_a_parked_run_is_resumed_by_another_process_at_its_time(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    @step("patient", retry=Retry(max_attempts=2, delay=timedelta(minutes=1)))
    async def patient(_: int, ctx: StepContext) -> int:
        journal.append(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError
        return ctx.attempt

    @workflow("parked")
    def parked(value: Ref[int]) -> Ref[int]:
        return patient(value)

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    await parked(old.container).run(1, run_id="parked-1")
    await old.die()
    await new.take_over(parked)
    waits = asyncio.create_task(parked(new.container).run(1, run_id="parked-1", wait=True))
    await asyncio.sleep(0)
    early = list(journal)
    clock.advance(timedelta(minutes=1))
    run = await waits

    assert early == ["attempt 1"]
    assert run.result == 2
    assert [str(attempt) for attempt in run.errors] == []
    assert run.steps["patient"].attempts == 2


async def test_a_run_whose_time_is_up_is_rolled_back_with_what_is_in_doubt(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()
    first = journal.step("first")

    @step("charge-card")
    async def charge_card() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    @charge_card.compensate
    async def refund(data: str) -> None:
        journal.append("never")

    @workflow("late", timeout=timedelta(minutes=1))
    def late() -> None:
        first()
        charge_card()

    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    await late(old.container).run(run_id="late-1", wait=False)
    await entered.wait()
    await old.die()
    clock.advance(timedelta(minutes=2))
    await new.take_over(late)
    run = await late(new.container).run(run_id="late-1", raise_on_error=False)

    assert journal == ["first", "undo first"]
    assert run.status is RunStatus.FAILED
    assert "ROLLBACK INCOMPLETE: charge-card may have run" in str(run.failure())
    assert run.errors[0].attempts[0].type == "RunTimeout"
