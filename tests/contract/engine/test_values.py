"""How values cross a run: nobody changes another's, and what does not fit is an error."""

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
    Retry,
    RunStatus,
    StepContext,
    StepResponse,
    WorkflowFailed,
    step,
    transform,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.processes import Process


class Order(BaseModel):
    id: UUID
    total: Decimal
    placed: datetime
    tags: set[str] = set()


class Receipt(BaseModel):
    order: Order
    lines: int


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


async def test_an_attempt_sees_nothing_of_what_the_one_before_did_to_their_input(shop: Process) -> None:
    @step("spoil", retry=Retry(max_attempts=2))
    async def spoil(items: list[int], ctx: StepContext) -> list[int]:
        items.append(99)
        if ctx.attempt == 1:
            raise OSError("not yet")
        return items

    @workflow("spoiling-twice")
    def spoiling_twice(items: Ref[list[int]]) -> Ref[list[int]]:
        return spoil(items)

    run = await spoiling_twice(shop.container).run([1])

    assert (run.result, run.steps["spoil"].attempts) == ([1, 99], 2)


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


async def test_an_input_known_while_composing_is_above_the_limit_when_it_is_used(
    store: Store, clock: ManualClock
) -> None:
    shop = Process(store, clock, "process-1", limit=1_000)

    @step("count")
    async def count(text: str) -> int:
        return len(text)

    @workflow("counting")
    def counting() -> Ref[int]:
        return count("x" * 1_000)

    with pytest.raises(WorkflowFailed, match="the input of step 'count' is 1,002 bytes") as failed:
        await counting(shop.container).run()

    assert isinstance(failed.value.__cause__, PayloadTooLargeError)


async def test_a_text_that_another_process_would_read_as_a_moment_fails_the_step(shop: Process) -> None:
    @step("note")
    async def note() -> datetime | str:
        return "2026-01-02T00:00:00Z"

    @workflow("noting")
    def noting() -> Ref[datetime | str]:
        return note()

    with pytest.raises(WorkflowFailed, match="the output of step 'note' would come back different: str would become"):
        await noting(shop.container).run()


async def test_an_input_that_does_not_fit_starts_no_run(shop: Process) -> None:
    @workflow("strict")
    def strict(order: Ref[Order]) -> Ref[Order]:
        return order

    with pytest.raises(CodecError, match="the input of workflow 'strict'"):
        await strict(shop.container).run({"id": "no"}, run_id="strict-1")  # type: ignore[arg-type]

    assert (await shop.engine.list()).items == []


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


async def test_a_step_that_is_not_external_cannot_leave_its_output_to_be_reported(shop: Process) -> None:
    @step("ask")
    async def ask() -> StepResponse[str | None, str]:
        return StepResponse.pending(compensate_input="request-1")

    @workflow("asking")
    def asking() -> Ref[str | None]:
        return ask()

    with pytest.raises(WorkflowFailed, match=r"'ask' returned StepResponse.pending\(\).* write external=True"):
        await asking(shop.container).run()
