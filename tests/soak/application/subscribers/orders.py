"""Workflows that use every construct, and write each of their effects into a ledger.

`fulfil-order` is started by an event: a group, a loop, a timer, a child, a condition, an event at its end.
`settle-order` is started by HTTP: it waits for an event, and for the outcome of an external step.

The ledger is the file `ledger`, a JSON array a line. The processes die, the machine does not: one `write` is enough.
"""

import asyncio
import json
import os
import time
from datetime import timedelta

from pydantic import BaseModel

from daemon import (
    Event,
    PermanentFailure,
    Ref,
    Retry,
    StepContext,
    SubscriberContext,
    emit,
    for_each,
    parallelize,
    sleep,
    step,
    subscriber,
    transform,
    wait_for_event,
    when,
    workflow,
)

AGAIN = Retry(max_attempts=3, delay=timedelta(milliseconds=100))


class Order(BaseModel):
    """What is to be done, and what is to go wrong.

    Attributes:
        pace_s: How long a step takes.
        stumbles_at: The step that fails at its first attempt, before its effect.
        fails_at: The step that finally fails, after its effect.
    """

    id: str
    pace_s: float
    gift: bool
    stumbles_at: str = ""
    fails_at: str = ""


class OrderPlaced(Event, name="order.placed"):
    """Somebody wants something, in so many parcels."""

    order: Order
    parcels: int


class OrderPaid(Event, name="order.paid"):
    """What `settle-order` waits for."""

    id: str


class OrderClosed(Event, name="order.closed"):
    """What `fulfil-order` says at its end."""

    id: str


class Basket(BaseModel):
    """The input of `fulfil-order`."""

    order: Order
    parcels: list[Order]


def enter(ledger: str, what: str, *names: str) -> None:
    """Have an effect; it names its run, its step or event, its key, and its order."""
    line = json.dumps([time.time(), os.getpid(), what, *names]) + "\n"
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def do(order: Order, ctx: StepContext) -> str:
    """Have the effect of a step, unless it stumbles, and fail if it is to fail."""
    if ctx.step == order.stumbles_at and ctx.attempt == 1:
        raise ConnectionError("try again")
    enter(ctx.options["ledger"], "do", ctx.run_id, ctx.step, ctx.idempotency_key, order.id)
    if ctx.step == order.fails_at:
        raise PermanentFailure("as it was told to")
    return order.id


async def act(order: Order, ctx: StepContext) -> str:
    """Take some time before and after the effect, so that a kill hits either."""
    await asyncio.sleep(order.pace_s / 2)
    done = do(order, ctx)
    await asyncio.sleep(order.pace_s / 2)
    return done


async def undo(done: str | None, ctx: StepContext) -> None:
    """Undo the effect of a step; without an output it has failed, or is in doubt."""
    await asyncio.sleep(0.005)
    enter(ctx.options["ledger"], "undo", ctx.run_id, ctx.step, ctx.idempotency_key, done or "")


@step("open", retry=AGAIN)
async def open_order(order: Order, ctx: StepContext) -> str:
    """Begin."""
    return await act(order, ctx)


@step("charge", retry=AGAIN)
async def charge(order: Order, ctx: StepContext) -> str:
    """Act beside `label`."""
    return await act(order, ctx)


@step("label", retry=AGAIN)
def label(order: Order, ctx: StepContext) -> str:
    """Act in a thread."""
    time.sleep(order.pace_s)
    return do(order, ctx)


@step("pack", retry=AGAIN)
async def pack(order: Order, ctx: StepContext) -> str:
    """Act for each parcel."""
    return await act(order, ctx)


@step("pick-up", retry=AGAIN)
async def pick_up(order: Order, ctx: StepContext) -> str:
    """Begin the child."""
    return await act(order, ctx)


@step("hand-over", retry=AGAIN)
async def hand_over(order: Order, ctx: StepContext) -> str:
    """End the child."""
    return await act(order, ctx)


@step("wrap", retry=AGAIN)
async def wrap(order: Order, ctx: StepContext) -> str:
    """Act for gifts only."""
    return await act(order, ctx)


@step("close", retry=AGAIN)
async def close(order: Order, ctx: StepContext) -> str:
    """End."""
    return await act(order, ctx)


@step("approve", external=True)
async def approve(order: Order, ctx: StepContext) -> str:
    """Ask somebody outside."""
    return await act(order, ctx)


for each in (open_order, charge, label, pack, pick_up, hand_over, wrap, close, approve):
    each.compensate(undo)


@workflow("deliver")
def deliver(order: Ref[Order]) -> Ref[str]:
    """Be a child."""
    pick_up(order)
    return hand_over(order)


@workflow("fulfil-order")
def fulfil_order(basket: Ref[Basket]) -> Ref[str]:
    """Use what a composition may use."""
    order = basket.pick(lambda b: b.order)
    open_order(order)
    parallelize(charge(order), label(order))
    for_each(basket.pick(lambda b: b.parcels), pack, concurrency=2)
    sleep(timedelta(seconds=0.3))
    deliver.as_step(order)
    with when(order, lambda o: o.gift):
        wrap(order)
    emit(transform(order, lambda o: OrderClosed(id=o.id)))
    return close(order)


@workflow("settle-order")
def settle_order(order: Ref[Order]) -> Ref[str]:
    """Wait for the outside, twice."""
    open_order(order)
    paid = wait_for_event(OrderPaid, key=order.pick(lambda o: o.id), match=lambda e: e.id, timeout=timedelta(hours=1))
    approve(order)
    close(order)
    return paid.pick(lambda e: e.id)


@subscriber(OrderPlaced, id="take-order", concurrency=50)
async def take_order(event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Start the run, and take whatever end it has."""
    basket = Basket(order=event.order, parcels=[event.order] * event.parcels)
    await fulfil_order(ctx.container).run(basket, raise_on_error=False)


@subscriber(OrderClosed, id="note-closed", concurrency=50)
async def note_closed(event: OrderClosed, ctx: SubscriberContext) -> None:
    """Enter the event that a run said at its end."""
    enter(ctx.options["ledger"], "event", "", ctx.event.name, ctx.event.id, event.id)
