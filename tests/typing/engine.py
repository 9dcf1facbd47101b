"""What scripts, handlers and tests get from a container, an engine, a harness."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel
from svcs import Container

from daemon import (
    AttemptError,
    Event,
    EventBus,
    Ref,
    RunEvent,
    RunPage,
    StepContext,
    StepError,
    StepState,
    Trigger,
    WorkflowEngine,
    WorkflowFailed,
    WorkflowRun,
    open_container,
    service,
    workflow,
)
from daemon.testing import Harness, ManualClock, memory_container


class Order(BaseModel):
    id: str


class OrderPlaced(Event, name="order.placed"):
    id: str


class Stock:
    """Something that steps use."""


@service
def stock() -> Stock:
    return Stock()


@service(scope="handler")
async def opened(container: Container) -> AsyncIterator[Stock]:
    yield await container.aget(Stock)


assert_type(stock(), Stock)


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[Order]:
    return order


async def look(engine: WorkflowEngine) -> None:
    assert_type(await engine.get("a"), WorkflowRun[Any])
    assert_type(await engine.list(workflow="place-order"), RunPage)
    assert_type((await engine.list()).items, list[WorkflowRun[Any]])
    assert_type((await engine.list()).next, str | None)
    assert_type(await engine.cancel("a"), WorkflowRun[Any])
    assert_type(await engine.retry("a"), WorkflowRun[Any])
    assert_type(await engine.rerun("a", from_step="charge", input=Order(id="b")), WorkflowRun[Any])
    assert_type(await engine.complete_step("a", "approve", "yes"), None)
    assert_type(await engine.fail_step("a", "approve", "no"), None)
    async for event in engine.watch(workflow="place-order"):
        assert_type(event, RunEvent)


async def script() -> None:
    async with open_container("config.toml") as container:
        assert_type(container, Container)
        assert_type(await container.aget(WorkflowEngine), WorkflowEngine)
        assert_type(await container.aget(Stock), Stock)
        bus = await container.aget(EventBus)
        assert_type(await bus.publish(OrderPlaced(id="a"), id="1"), str)
    async with memory_container(Stock(), stock, clock=ManualClock()) as container:
        try:
            await place_order(container).run(Order(id="a"))
        except WorkflowFailed as failed:
            assert_type(failed.run.errors, list[StepError])
            assert_type(failed.run.errors[0].attempts, tuple[AttemptError, ...])
            assert_type(failed.run.steps["charge"].state, StepState)


async def tests() -> None:
    async with Harness("application") as app:
        assert_type(await app.publish(OrderPlaced(id="a")), str)
        assert_type(await app.settle(), None)
        assert_type(await app.advance(timedelta(days=1)), None)
        assert_type(app.runs(workflow="place-order"), list[WorkflowRun[Any]])
        assert_type(app.container, Container)


def told(ctx: StepContext) -> None:
    assert_type(ctx.container, Container)
    assert_type(ctx.run_id, str)
    assert_type(ctx.workflow, str)
    assert_type(ctx.step, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.trigger, Trigger)
    assert_type(ctx.emit(OrderPlaced(id="a"), immediately=True), None)
