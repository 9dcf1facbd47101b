"""Runs in which nothing can wait, and which so begin without a task of their own."""

import asyncio
from contextvars import ContextVar, copy_context
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, Retry, RunStatus, StepContext, WorkflowFailed, step, workflow
from daemon.clock import ManualClock
from daemon.engine.in_place import begin_in_place
from daemon.workflow.port import RunOptions
from tests.contract.engine.processes import Journal, Process, until

_seen: ContextVar[str] = ContextVar("seen", default="nobody")


@step("look")
async def _look(_: int) -> str:
    before = _seen.get()
    _seen.set("a step")
    return before


@workflow("looking-in-place")
def _looking(value: Ref[int]) -> Ref[str]:
    return _look(value)


@step("refuse")
async def _refuse() -> None:
    raise ValueError("no")


@workflow("refusing-in-place")
def _refusing() -> None:
    _refuse()


async def test_a_run_sees_what_its_caller_has_set_and_the_caller_not_what_the_run_sets(shop: Process) -> None:
    _seen.set("a caller")

    runs = [await _looking(shop.container).run(number) for number in range(20)]

    assert {run.result for run in runs} == {"a caller"}
    assert _seen.get() == "a caller"


async def test_a_step_that_asks_for_its_task_gets_the_run_s_own(shop: Process) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @step("ask")
    async def ask() -> None:
        tasks.append(asyncio.current_task())

    @workflow("asking")
    def asking() -> None:
        ask()

    await asking(shop.container).run(run_id="order-17")
    await asking(shop.container).run()

    assert asyncio.current_task() not in tasks
    assert [task and task.get_name()[:4] for task in tasks] == ["run ", "run "]


async def test_others_get_a_turn_while_a_caller_starts_one_run_after_the_other(shop: Process) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())

    while turns < 4:
        await _looking(shop.container).run(0)

    other.cancel()
    assert turns >= 4


async def test_a_run_that_is_not_awaited_is_returned_before_it_ends(shop: Process) -> None:
    run = await shop.engine.execute(_looking, 1, RunOptions(wait=False))

    assert run.status is RunStatus.RUNNING


async def test_what_a_caller_handles_is_no_context_of_what_a_step_raises(shop: Process) -> None:
    try:
        next(iter(()))
    except StopIteration:
        with pytest.raises(WorkflowFailed) as failed:
            await _refusing(shop.container).run()

    assert isinstance(failed.value.__cause__, ValueError)
    assert failed.value.__cause__.__context__ is None


async def test_a_run_that_has_to_wait_after_all_goes_on_without_its_caller(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("try", retry=Retry(max_attempts=2, delay=timedelta(seconds=1), jitter=0))
    async def try_twice(_: int, ctx: StepContext) -> None:
        journal.append(f"try {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError("not yet")

    @workflow("trying")
    def trying(value: Ref[int]) -> None:
        try_twice(value)

    caller = asyncio.create_task(trying(shop.container).run(1))
    await until(lambda: clock.next_due_s() == 1, what="it waits")

    caller.cancel()
    await asyncio.wait([caller])
    clock.advance(timedelta(seconds=1))
    await until(lambda: not shop.engine.running, what="it has ended")

    assert caller.cancelled()
    assert journal == ["try 1", "try 2"]


async def test_a_step_that_cancels_itself_fails_and_its_caller_goes_on(shop: Process) -> None:
    @step("cancel-itself")
    async def cancel_itself() -> None:
        raise asyncio.CancelledError

    @workflow("cancelling-itself")
    def cancelling_itself() -> None:
        cancel_itself()

    run = await cancelling_itself(shop.container).run(raise_on_error=False)

    assert run.status is RunStatus.REVERTED


async def test_what_is_cancelled_before_its_task_had_a_turn_is_cancelled_where_it_waits() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    rest = begin_in_place(work(), copy_context())
    assert rest is not None
    task = asyncio.create_task(rest)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert ended == ["cancelled"]
