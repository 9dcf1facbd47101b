"""Enters every placed order into a ledger, in two steps; each says what it did, and can be held up by the test.

The ledger is the file `ledger`, a line for each effect. A step named by `held` waits until the file `gate` exists.
"""

import asyncio
from pathlib import Path

from pydantic import BaseModel

from daemon import Event, Ref, StepContext, SubscriberContext, step, subscriber, workflow


class OrderPlaced(Event, name="order.placed"):
    """An order."""

    id: str
    amount: int


class Order(BaseModel):
    """What the workflow needs of it."""

    id: str


async def write(order: Order, ctx: StepContext) -> str:
    """Have the effect of a step."""
    ctx.log.info("step_begun", order=order.id)
    while ctx.options.get("held") == ctx.step and not Path(ctx.options["gate"]).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    await asyncio.sleep(ctx.options.get("pause_s", 0))
    with Path(ctx.options["ledger"]).open("a") as ledger:
        ledger.write(f"{ctx.step} {order.id} {ctx.idempotency_key}\n")
    return order.id


@step("reserve")
async def reserve(order: Order, ctx: StepContext) -> str:
    """Have the first effect."""
    return await write(order, ctx)


@step("enter")
async def enter(order: Order, ctx: StepContext) -> str:
    """Have the second effect."""
    return await write(order, ctx)


@workflow("enter-order")
def enter_order(order: Ref[Order]) -> Ref[str]:
    """Reserve, then enter."""
    reserve(order)
    return enter(order)


@subscriber(OrderPlaced, id="keep-ledger")
async def keep_ledger(event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Run the workflow."""
    await enter_order(ctx.container).run(Order(id=event.id))
