"""Members of a group: those that await nothing begin without a task of their own; those that have ended are kept."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    Ref,
    Retry,
    RunStatus,
    StepContext,
    WorkflowRun,
    for_each,
    parallelize,
    step,
    transform,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import ended, reached
from tests.contract.engine.processes import Journal, Process, until

_seen: ContextVar[str] = ContextVar("seen", default="nobody")
SECOND = Retry(max_attempts=2, delay=timedelta(seconds=1), jitter=0)


async def test_what_a_member_sets_in_its_context_no_other_sees(shop: Process) -> None:
    @step("look")
    async def look(_: int, ctx: StepContext) -> str:
        before = _seen.get()
        _seen.set(ctx.step)
        return before

    @workflow("looking")
    def looking(value: Ref[int]) -> Ref[list[str]]:
        first, second = parallelize(look(value), look.named("look-again")(value))
        return transform(first, second, lambda one, other: [one, other])

    run = await looking(shop.container).run(1)

    assert run.result == ["nobody", "nobody"]
    assert _seen.get() == "nobody"


async def test_a_member_that_has_to_wait_for_its_next_attempt_holds_up_no_other(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("try", retry=SECOND)
    async def try_twice(_: int, ctx: StepContext) -> int:
        journal.append(f"try {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError("not yet")
        return ctx.attempt

    @step("later")
    async def later() -> None:
        await asyncio.sleep(0)
        journal.append("later")

    @workflow("trying")
    def trying(value: Ref[int]) -> Ref[int]:
        tried, _, _ = parallelize(try_twice(value), journal.step("at-once")(), later())
        return tried

    running = asyncio.create_task(trying(shop.container).run(1))
    await until(lambda: len(journal) == 3, what="the others have ended")
    clock.advance(timedelta(seconds=1))
    run = await running

    assert journal == ["try 1", "at-once", "later", "try 2"]
    assert run.result == 2


async def test_no_more_items_than_may_wait_for_their_next_attempt(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("try-item", retry=SECOND)
    async def try_item(item: int, ctx: StepContext) -> int:
        journal.append(f"{item}:{ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError("not yet")
        return item

    @workflow("trying-items")
    def trying(items: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(items, try_item, concurrency=2)

    running = asyncio.create_task(trying(shop.container).run([1, 2, 3]))
    await until(lambda: clock.next_due_s() is not None, what="an item waits")
    before = list(journal)
    clock.advance(timedelta(seconds=1))
    await until(lambda: "3:1" in journal, what="the third was begun")
    await until(lambda: clock.next_due_s() == 1, what="it waits")
    clock.advance(timedelta(seconds=1))
    run = await running

    assert before == ["1:1", "2:1"]
    assert run.result == [1, 2, 3]
    assert sorted(journal) == ["1:1", "1:2", "2:1", "2:2", "3:1", "3:2"]


async def test_a_run_that_is_cut_off_ends_the_member_that_waits_for_its_next_attempt(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("fail", retry=Retry(max_attempts=2, delay=timedelta(seconds=20), jitter=0))
    async def fail() -> None:
        raise OSError("not yet")

    @workflow("cut-off", timeout=timedelta(seconds=10))
    def cut_off() -> None:
        parallelize(fail(), journal.step("at-once")())

    running = asyncio.create_task(cut_off(shop.container).run(raise_on_error=False))
    await until(lambda: journal == ["at-once"], what="the other has ended")
    clock.advance(timedelta(seconds=10))
    run = await running

    assert run.status is RunStatus.REVERTED
    assert journal == ["at-once", "undo at-once"]


@pytest.mark.parametrize("way", ["forward", "back"])
async def test_a_member_that_has_ended_is_not_repeated_after_a_crash_however_long_the_others_take(
    store: Store, clock: ManualClock, journal: Journal, way: str
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def linger() -> None:
        entered.set()
        await go_on.wait()

    @step("slow", idempotent=True)
    async def slow() -> None:
        if way == "forward":
            await linger()

    @slow.compensate
    async def undo_slow() -> None:
        await linger()

    @workflow("abreast")
    def abreast() -> None:
        parallelize(journal.step("charge")(), slow())
        journal.failing()()

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await abreast(old.container).run(run_id="a-1", wait=False)
    await entered.wait()
    await reached(old, "a-1", *ENDED[way])
    await old.die()
    entered.clear()
    await new.take_over(abreast)
    await entered.wait()
    go_on.set()
    run = await ended(new, "a-1")

    assert run.status is RunStatus.REVERTED
    assert journal == ["charge", "break", "undo charge"]
    assert sorted(run.compensated) == ["charge", "slow"]


ENDED: dict[str, tuple[RunStatus, Callable[[WorkflowRun[Any]], bool]]] = {
    "forward": (RunStatus.RUNNING, lambda run: "charge" in run.steps and run.steps["charge"].state == "completed"),
    "back": (RunStatus.COMPENSATING, lambda run: run.steps["charge"].state == "compensated"),
}


async def test_an_item_that_has_ended_is_not_repeated_after_a_crash_however_long_the_others_take(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("charge")
    async def charge(item: int) -> int:
        if item:
            entered.set()
            await go_on.wait()
        journal.append(f"charge {item}")
        return item

    @workflow("charging")
    def charging(items: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(items, charge)

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await charging(old.container).run([0, 1], run_id="a-1", wait=False)
    await entered.wait()
    await reached(old, "a-1", RunStatus.RUNNING, lambda run: "charge[0]" in run.steps)
    await old.die()
    entered.clear()
    await new.take_over(charging)
    await entered.wait()
    go_on.set()
    run = await ended(new, "a-1")

    assert run.status is RunStatus.COMPLETED
    assert journal == ["charge 0", "charge 1"]
