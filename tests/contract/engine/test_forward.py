"""What a run that succeeds gives back, and what its steps are told."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import BaseModel

from daemon import (
    Ref,
    Retry,
    RunStatus,
    StepContext,
    StepResponse,
    StepState,
    WorkflowFailed,
    parallelize,
    step,
    transform,
    workflow,
)
from tests.contract.engine.processes import Journal, Process


class Order(BaseModel):
    id: UUID
    total: Decimal
    placed: datetime
    tags: set[str] = set()


class Receipt(BaseModel):
    order: Order
    lines: int


@dataclass
class Stock:
    left: int


ORDER = Order(id=UUID(int=7), total=Decimal("12.50"), placed=datetime(2026, 1, 2, tzinfo=UTC), tags={"gift"})


async def test_steps_run_in_the_order_in_which_they_are_recorded(shop: Process, journal: Journal) -> None:
    first, second, third = (journal.step(name) for name in ("first", "second", "third"))

    @workflow("in-order")
    def in_order() -> None:
        first()
        second()
        third()

    run = await in_order(shop.container).run()

    assert journal == ["first", "second", "third"]
    assert list(run.steps) == journal
    assert run.result is None


async def test_steps_can_be_looked_at_by_name(shop: Process) -> None:
    @step("double")
    async def double(value: int) -> int:
        return value * 2

    @workflow("doubling")
    def doubling(value: Ref[int]) -> Ref[int]:
        return double.named("again")(double(value))

    run = await doubling(shop.container).run(21)
    again = run.steps["again"]

    assert (again.state, again.input, again.output, again.attempts) == (StepState.COMPLETED, 42, 84, 1)
    assert again.ended_at is not None
    assert again.started_at <= again.ended_at
    assert run.result == 84


async def test_a_stored_run_tells_the_same_as_the_one_that_was_returned(shop: Process) -> None:
    @step("pack")
    async def pack(order: Order) -> Order:
        return order.model_copy(update={"tags": {"packed"}})

    @workflow("packing")
    def packing(order: Ref[Order]) -> Ref[Order]:
        return pack(order)

    run = await packing(shop.container).run(ORDER, run_id="packing-1")
    stored = await shop.engine.get("packing-1")

    assert stored.to_json() == run.to_json()
    assert stored.result == run.result
    assert stored.steps == run.steps


async def test_a_step_is_told_who_it_works_for(shop: Process) -> None:
    shop.registry.register_value(Stock, Stock(3))
    seen: list[StepContext] = []

    @step("look")
    async def look(_: int, ctx: StepContext) -> int:
        seen.append(ctx)
        return (await ctx.container.aget(Stock)).left

    @workflow("looking")
    def looking(value: Ref[int]) -> Ref[int]:
        return look(value)

    run = await looking(shop.container).run(1, run_id="looking-1")
    ctx = seen[0]

    assert run.result == 3
    assert (ctx.run_id, ctx.workflow, ctx.step, ctx.attempt) == ("looking-1", "looking", "look", 1)
    assert ctx.trigger.kind == "call"
    assert ctx.options == {"of": "looking"}
    assert ctx.idempotency_key == "shop:looking-1:1:look"


async def test_a_plain_function_runs_in_a_thread_and_knows_the_context(shop: Process) -> None:
    names: list[str] = []

    @step("in-thread")
    def in_thread(value: int, ctx: StepContext) -> int:
        names.extend([threading.current_thread().name, ctx.step])
        return value + 1

    @workflow("threading")
    def threads(value: Ref[int]) -> Ref[int]:
        return in_thread(value)

    run = await threads(shop.container).run(1)

    assert run.result == 2
    assert names[0] != threading.main_thread().name
    assert names[1] == "in-thread"


async def test_members_of_a_group_run_at_the_same_time_and_keep_their_types(shop: Process) -> None:
    both = asyncio.Barrier(2)

    @step("number")
    async def number() -> int:
        await both.wait()
        return 1

    @step("text")
    async def text() -> str:
        await both.wait()
        return "one"

    @workflow("at-once")
    def at_once() -> Ref[str]:
        a, b = parallelize(number(), text())
        return transform(a, b, lambda n, t: f"{n}={t}")

    run = await at_once(shop.container).run()

    assert run.result == "1=one"


async def test_a_skipped_step_gives_none_and_is_shown_as_skipped(shop: Process) -> None:
    @step("maybe")
    async def maybe() -> StepResponse[int, int]:
        return StepResponse.skip()

    @workflow("skipping")
    def skipping() -> Ref[str]:
        return transform(maybe(), repr)

    run = await skipping(shop.container).run()

    assert run.result == "None"
    assert run.steps["maybe"].state is StepState.SKIPPED


async def test_an_exception_in_a_transform_names_the_transform(shop: Process) -> None:
    @step("one")
    async def one() -> int:
        return 1

    @workflow("dividing")
    def dividing() -> Ref[float]:
        return transform(one(), lambda value: value / 0)

    with pytest.raises(WorkflowFailed, match=r"'transform-1'.*division by zero") as failed:
        await dividing(shop.container).run()

    assert [error.step for error in failed.value.run.errors] == ["transform-1"]
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


async def test_a_pick_into_what_is_not_there_fails_the_step_that_wants_it(shop: Process) -> None:
    @step("use")
    async def use(value: str) -> str:
        return value

    @workflow("picking")
    def picking(items: Ref[list[str]]) -> Ref[str]:
        return use(items.pick(lambda all_: all_[3]))

    run = await picking(shop.container).run(["only one"], raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert (run.errors[0].step, run.errors[0].attempts[0].type) == ("use", "IndexError")


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_a_step_that_wants_to_end_the_process_has_failed(shop: Process, *, in_a_thread: bool) -> None:
    if in_a_thread:

        @step("leave")
        def leave() -> None:
            raise SystemExit(3)
    else:

        @step("leave")
        async def leave() -> None:
            raise SystemExit(3)

    @workflow("leaving")
    def leaving() -> None:
        leave()

    run = await leaving(shop.container).run(raise_on_error=False)

    assert str(run.errors[0]) == "SystemExit: 3"


async def test_an_exception_that_is_none_of_the_usual_kind_is_a_failed_attempt(shop: Process) -> None:
    class Panic(BaseException):  # as native extensions raise
        pass

    @step("panic", compensation_retry=Retry.never())
    async def panic() -> None:
        raise Panic

    @panic.compensate
    async def undo(_: None) -> None:
        raise Panic

    @workflow("panicking")
    def panicking() -> None:
        panic()

    run = await panicking(shop.container).run(raise_on_error=False)

    assert run.status is RunStatus.FAILED
    assert [(error.step, error.phase) for error in run.errors] == [("panic", "invoke"), ("panic", "compensate")]
