"""What a run that succeeds gives back, and what its steps are told."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from daemon import (
    CodecError,
    PayloadTooLargeError,
    Ref,
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
from daemon.clock import ManualClock
from daemon.store.model import Store
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


async def test_a_result_comes_back_as_what_it_was(shop: Process) -> None:
    @step("count-lines")
    async def count_lines(order: Order) -> int:
        return len(order.tags)

    @workflow("place-order")
    def place_order(order: Ref[Order]) -> Ref[Receipt]:
        return transform(order, count_lines(order), lambda o, n: Receipt(order=o, lines=n))

    run = await place_order(shop.container).run(ORDER)

    assert run.status is RunStatus.COMPLETED
    assert run.result == Receipt(order=ORDER, lines=1)
    assert run.input == ORDER
    assert (run.errors, run.compensated) == ([], [])


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


async def test_what_a_step_does_to_its_input_nobody_else_sees(shop: Process) -> None:
    @step("make")
    async def make() -> list[int]:
        return [1]

    @step("spoil")
    async def spoil(items: list[int]) -> list[int]:
        items.append(99)
        return items

    @step("read")
    async def read(items: list[int]) -> list[int]:
        return items

    @workflow("spoiling")
    def spoiling() -> Ref[list[list[int]]]:
        made = make()
        spoilt = spoil(made)
        return transform(made, spoilt, read(made), lambda a, b, c: [a, b, c])

    run = await spoiling(shop.container).run()

    assert run.result == [[1], [1, 99], [1]]


async def test_what_was_returned_does_not_change_with_the_object(shop: Process) -> None:
    kept: list[list[int]] = []

    @step("keep")
    async def keep() -> list[int]:
        kept.append([1])
        return kept[0]

    @step("meddle")
    async def meddle() -> None:
        kept[0].append(2)

    @workflow("meddling")
    def meddling() -> Ref[list[int]]:
        result = keep()
        meddle()
        return result

    run = await meddling(shop.container).run()

    assert run.result == [1]


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


async def test_a_structured_result_comes_back_as_it_was_written(shop: Process) -> None:
    @step("take")
    async def take(order: Order) -> Order:
        return order

    @workflow("structured")
    def structured(order: Ref[Order]) -> dict[str, object]:
        taken = take(order)
        return {"order": taken, "total": taken.pick(lambda o: o.total), "both": [order, taken], "plain": 7}

    run = await structured(shop.container).run(ORDER)

    assert run.result == {"order": ORDER, "total": Decimal("12.50"), "both": [ORDER, ORDER], "plain": 7}


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


async def test_what_has_no_json_form_fails_the_step_finally_and_names_the_field(shop: Process) -> None:
    attempts: list[int] = []

    @step("leak", idempotent=True)
    async def leak(_: int, ctx: StepContext) -> dict[str, object]:
        attempts.append(ctx.attempt)
        return {"fine": 1, "socket": object()}

    @workflow("leaking")
    def leaking(value: Ref[int]) -> Ref[dict[str, object]]:
        return leak(value)

    with pytest.raises(WorkflowFailed, match=r"the output of step 'leak' cannot be stored .* at socket") as failed:
        await leaking(shop.container).run(1)

    assert attempts == [1]
    assert isinstance(failed.value.__cause__, CodecError)


async def test_a_value_above_the_limit_is_an_error(store: Store, clock: ManualClock) -> None:
    shop = Process(store, clock, "process-1", limit=1_000)

    @step("bloat")
    async def bloat() -> str:
        return "x" * 1_000

    @workflow("bloating")
    def bloating() -> Ref[str]:
        return bloat()

    with pytest.raises(WorkflowFailed, match="is 1,002 bytes") as failed:
        await bloating(shop.container).run()

    assert isinstance(failed.value.__cause__, PayloadTooLargeError)


async def test_an_input_that_does_not_fit_starts_no_run(shop: Process) -> None:
    @workflow("strict")
    def strict(order: Ref[Order]) -> Ref[Order]:
        return order

    with pytest.raises(CodecError, match="the input of workflow 'strict'"):
        await strict(shop.container).run({"id": "no"}, run_id="strict-1")  # type: ignore[arg-type]

    assert (await shop.engine.list()).items == []


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


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: list[str]


async def test_a_step_that_takes_a_base_class_gets_the_value_as_it_is(shop: Process) -> None:
    @step("fetch")
    async def fetch() -> Dog:
        return Dog(name="Rex", tricks=["sit"])

    @step("look-at")
    async def look_at(animal: Animal) -> str:
        return repr(animal)

    @workflow("petting")
    def petting() -> Ref[str]:
        return look_at(fetch())

    run = await petting(shop.container).run()

    assert run.result == repr(Dog(name="Rex", tricks=["sit"]))


async def test_a_value_that_is_not_what_the_step_declares_fails_the_step(shop: Process) -> None:
    @step("untyped")
    async def untyped() -> Any:
        return {"name": "Rex"}

    @step("typed")
    async def typed(animal: Animal) -> str:
        return animal.name

    @workflow("mistyped")
    def mistyped() -> Ref[str]:
        return typed(untyped())

    run = await mistyped(shop.container).run(raise_on_error=False)

    assert run.errors[0].step == "typed"
    assert "the input of step 'typed' cannot be stored as JSON of Animal" in str(run.errors[0])
