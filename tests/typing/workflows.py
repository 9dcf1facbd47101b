"""A workflow knows its input and its result, from the composition to the run."""

from datetime import timedelta
from typing import Any, assert_type

import svcs
from pydantic import BaseModel

from daemon import (
    Ref,
    RunStatus,
    SourceWorkflow,
    StepError,
    StepRun,
    Workflow,
    WorkflowEngine,
    WorkflowFailed,
    WorkflowRun,
    step,
    transform,
    workflow,
)


class Order(BaseModel):
    id: str


class Receipt(BaseModel):
    order_id: str


@step("charge")
async def charge(order: Order) -> int:
    return len(order.id)


@step("count")
async def count() -> int:
    return 1


@workflow("with-input", timeout=timedelta(hours=1))
def with_input(order: Ref[Order]) -> Ref[Receipt]:
    return transform(order, charge(order), lambda o, _: Receipt(order_id=o.id))


@workflow("without-input")
def without_input() -> Ref[int]:
    return count()


@workflow("without-result")
def without_result(order: Ref[Order]) -> None:
    charge(order)


@workflow("without-either")
def without_either() -> None:
    count()


@workflow("with-a-dict")
def with_a_dict(order: Ref[Order]) -> dict[str, Ref[int]]:
    return {"charged": charge(order)}


@workflow("with-a-list")
def with_a_list() -> list[Ref[int]]:
    return [count()]


@workflow("with-a-tuple")
def with_a_tuple(order: Ref[Order]) -> tuple[Ref[int], Ref[str]]:
    return charge(order), order.pick(lambda o: o.id)


assert_type(with_input, Workflow[Order, Receipt])
assert_type(without_input, SourceWorkflow[int])
assert_type(without_result, Workflow[Order, None])
assert_type(without_either, SourceWorkflow[None])
# A structure is typed Any; a transform gives a typed one.
assert_type(with_a_dict, Workflow[Order, Any])
assert_type(with_a_list, SourceWorkflow[Any])
assert_type(with_a_tuple, Workflow[Order, Any])
assert_type(with_input.graph.to_mermaid(), str)


async def run(container: svcs.Container, order: Order) -> None:
    assert_type(await with_input(container).run(order), WorkflowRun[Receipt])
    assert_type(await with_input().run(order, run_id="order-17", raise_on_error=False), WorkflowRun[Receipt])
    assert_type(await with_input(container).run(input=order, wait=False, on_existing="reject"), WorkflowRun[Receipt])
    assert_type(await without_input(container).run(), WorkflowRun[int])
    assert_type(await without_input().run(run_id="count", wait=True, on_existing="join"), WorkflowRun[int])
    assert_type((await with_input(container).run(order)).result, Receipt)
    assert_type((await without_input(container).run()).result, int)
    assert_type((await without_result(container).run(order)).result, None)
    assert_type((await without_either(container).run()).result, None)
    assert_type((await with_a_dict(container).run(order)).result, Any)


async def look(container: svcs.Container, order: Order) -> None:
    run = await with_input(container).run(order)
    assert_type(run.status, RunStatus)
    assert_type(run.run_id, str)
    assert_type(run.errors, list[StepError])
    assert_type(run.steps, dict[str, StepRun])
    assert_type(run.compensated, list[str])
    assert_type(run.errors[0].attempts[0].message, str)
    engine = await container.aget(WorkflowEngine)
    assert_type(await engine.get(run.run_id), WorkflowRun[Any])


async def fail(container: svcs.Container, order: Order) -> str:
    try:
        run = await with_input(container).run(order)
    except WorkflowFailed as failed:
        return str(failed.run.errors[0])
    return run.result.order_id
