"""Handlers that an application adds to the hooks of a workflow."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from daemon import (
    Event,
    Hook,
    PermanentFailure,
    Ref,
    Retry,
    RunStatus,
    StepContext,
    StepResponse,
    StepState,
    when,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow, Workflow
from tests.contract.engine.crashing import check, survivals
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import ended
from tests.contract.engine.processes import Journal, Process, until

HERE = __name__


class Order(BaseModel):
    id: str


class OrderSeen(Event, name="order.seen"):
    id: str


ORDER = Order(id="17")
order_validated = Hook[Order]("order-validated")


def _placing(journal: Journal, *, fails: bool = False) -> Workflow[Order, str]:
    first, last = journal.step("first"), journal.failing("last") if fails else journal.step("last")

    @workflow("placing")
    def placing(order: Ref[Order]) -> Ref[str]:
        first()
        order_validated(order)
        return last()

    return placing


def _handled(placing: Workflow[Order, str], journal: Journal, name: str, **options: Any) -> None:
    """Add a handler that notes what it does, and can be undone."""

    async def handler(order: Order) -> str:
        journal.append(f"{name} {order.id}")
        return name

    handler.__qualname__ = name
    added = placing.on(order_validated, **options)(handler)

    @added.compensate
    async def undo(data: str) -> None:
        journal.append(f"undo {data}")


async def test_a_hook_without_handlers_does_nothing(shop: Process, journal: Journal) -> None:
    run = await _placing(journal)(shop.container).run(ORDER)

    assert journal == ["first", "last"]
    assert list(run.steps) == ["first", "last"]


async def test_handlers_run_in_the_order_of_module_and_line_with_the_value_of_the_hook(
    shop: Process, journal: Journal
) -> None:
    placing = _placing(journal)

    async def by_context(order: Order, ctx: StepContext) -> None:
        journal.append(f"{order.id} {ctx.workflow} {ctx.run_id} {ctx.idempotency_key} {ctx.options['of']}")
        ctx.emit(OrderSeen(id=order.id))

    def in_a_thread(order: Order) -> str:
        journal.append(f"thread {order.id}")
        order.id = "changed"
        return "thread"

    async def by_nothing() -> None:
        journal.append("nothing")

    def elsewhere(order: Order) -> None:
        journal.append(f"elsewhere {order.id}")

    elsewhere.__module__ = "a.module.before"
    for handler in (by_nothing, in_a_thread, elsewhere):
        placing.on(order_validated)(handler)
    before = placing.graph.hash, placing.graph.describe()
    placing.on(order_validated)(by_context)
    run = await placing(shop.container).run(ORDER, run_id="p-1")
    here = f"order-validated[{HERE}.{by_context.__qualname__.removesuffix('by_context')}"

    assert journal == [
        "first",
        "elsewhere 17",
        f"17 placing p-1 shop:p-1:1:{here}by_context] placing",
        "thread 17",
        "nothing",
        "last",
    ]
    assert [(step.name, step.state) for step in list(run.steps.values())[2:5]] == [
        (f"{here}{name}]", StepState.COMPLETED) for name in ("by_context", "in_a_thread", "by_nothing")
    ]
    assert (run.steps[f"{here}in_a_thread]"].input, run.steps[f"{here}in_a_thread]"].output) == (ORDER, "thread")
    assert (placing.graph.hash, placing.graph.describe()) == before
    assert len(await shop.store.outgoing("shop", limit=10)) == 1


async def test_handlers_are_undone_last_first(shop: Process, journal: Journal) -> None:
    placing = _placing(journal, fails=True)
    _handled(placing, journal, "one")
    _handled(placing, journal, "two")

    run = await placing(shop.container).run(ORDER, raise_on_error=False)
    one, two = [f"order-validated[{HERE}.{name}]" for name in ("one", "two")]

    assert journal == ["first", "one 17", "two 17", "last", "undo two", "undo one", "undo first"]
    assert run.compensated == [two, one, "first"]


async def test_a_handler_that_fails_fails_the_run_and_no_other_runs(shop: Process, journal: Journal) -> None:
    placing = _placing(journal)
    _handled(placing, journal, "one")

    @placing.on(order_validated)
    async def refuse(order: Order) -> StepResponse[str, str]:
        raise PermanentFailure(f"no {order.id}", compensate_input="half")

    @refuse.compensate
    async def undo(data: str) -> None:
        journal.append(f"undo {data}")

    @placing.on(order_validated)
    async def never(order: Order) -> None:
        journal.append(order.id)

    run = await placing(shop.container).run(ORDER, run_id="p-1", raise_on_error=False)

    assert journal == ["first", "one 17", "undo half", "undo one", "undo first"]
    assert [(error.step, error.phase) for error in run.errors] == [(refuse.name, "invoke")]
    assert f"failed at '{refuse.name}' after 1 attempt: PermanentFailure: no 17" in str(run.failure())


async def test_a_handler_is_tried_again_by_its_retry(shop: Process, clock: ManualClock, journal: Journal) -> None:
    placing = _placing(journal)

    @placing.on(order_validated, retry=Retry(max_attempts=3, delay=timedelta(seconds=5)))
    async def flaky(_: Order, ctx: StepContext) -> None:
        journal.append(f"attempt {ctx.attempt}")
        if ctx.attempt < 3:
            raise OSError

    await placing(shop.container).run(ORDER, run_id="p-1", wait=False)
    for _ in range(2):
        await until(lambda: clock.next_due_s() is not None)
        clock.advance(timedelta(seconds=5))
    run = await placing(shop.container).run(ORDER, run_id="p-1")

    assert journal == ["first", "attempt 1", "attempt 2", "attempt 3", "last"]
    assert run.steps[flaky.name].attempts == 3


async def test_a_hook_in_a_branch_runs_its_handlers_if_the_branch_is_taken(shop: Process, journal: Journal) -> None:
    @workflow("branching")
    def branching(order: Ref[Order]) -> None:
        with when(order, lambda o: o.id == "17"):
            order_validated(order)

    @branching.on(order_validated)
    async def note(order: Order) -> None:
        journal.append(order.id)

    for order_id in ("16", "17"):
        await branching(shop.container).run(Order(id=order_id))

    assert journal == ["17"]


async def test_a_hook_of_a_child_has_the_childs_handlers(shop: Process, journal: Journal) -> None:
    placing = _placing(journal)
    _handled(placing, journal, "one")

    @workflow("around")
    def around(order: Ref[Order]) -> None:
        placing.as_step(order)
        journal.failing()()

    run = await around(shop.container).run(ORDER, run_id="a-1", raise_on_error=False)

    assert journal == ["first", "one 17", "last", "break", "undo last", "undo one", "undo first"]
    assert run.compensated == ["placing"]


async def test_a_handler_that_waits_goes_on_after_a_restart_and_those_before_it_are_not_repeated(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    placing = _placing(journal)
    _handled(placing, journal, "one")

    @placing.on(order_validated, retry=Retry(max_attempts=2, delay=timedelta(hours=1)))
    async def flaky(order: Order, ctx: StepContext) -> None:
        journal.append(f"attempt {ctx.attempt} {order.id}")
        if ctx.attempt == 1:
            raise OSError

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    parked = await placing(old.container).run(ORDER, run_id="p-1")
    await old.die()
    await new.take_over(placing)
    clock.advance(timedelta(hours=1))
    run = await placing(new.container).run(ORDER, run_id="p-1", wait=True)

    assert parked.waiting_for == f"attempt 2 of {flaky.name}"
    assert journal == ["first", "one 17", "attempt 1 17", "attempt 2 17", "last"]
    assert run.status is RunStatus.COMPLETED


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_handlers_survive_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    def make(journal: Journal) -> SourceWorkflow[Any]:
        placing = _placing(journal, fails=fails)

        async def one() -> str:
            journal.append("one")
            return "one"

        async def two() -> str:
            journal.append("two")
            return "two"

        async def undo(data: str) -> None:
            journal.append(f"undo {data}")

        for handler in (two, one):
            placing.on(order_validated)(handler).compensate(undo)

        @workflow("placing-one")
        def placing_one() -> None:
            placing.as_step(ORDER)

        return placing_one

    async for survival in survivals(store, clock, make, committed=committed):
        status = RunStatus.REVERTED if fails else RunStatus.COMPLETED

        check(survival, ("first", "one", "two", "last"), status=status, undone={"first", "one", "two"} if fails else ())


async def test_a_handler_is_in_doubt_if_its_process_died_and_those_after_it_are_not(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @workflow("placing", timeout=timedelta(minutes=1))
    def placing(order: Ref[Order]) -> None:
        order_validated(order)

    async def hang(_: Order) -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    async def undo(_: str) -> None:
        journal.append("never")

    async def after(_: Order) -> str:
        journal.append("never")
        return "never"

    placing.on(order_validated)(hang).compensate(undo)
    placing.on(order_validated)(after).compensate(undo)
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await placing(old.container).run(ORDER, run_id="p-1", wait=False)
    await entered.wait()
    await old.die()
    clock.advance(timedelta(minutes=2))
    await new.take_over(placing)
    run = await ended(new, "p-1")

    assert (run.status, journal) == (RunStatus.FAILED, [])
    assert [error.step.rpartition(".")[2] for error in run.errors if error.phase == "compensate"] == ["hang]"]
