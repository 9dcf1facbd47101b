"""A subscriber's handler gets the events that it subscribes to, and stays the function that it was."""

from typing import Any, assert_type

from daemon.events.model import Event
from daemon.events.subscriber import Subscriber, SubscriberContext, subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    id: str


class OrderSent(Event, name="order.sent"):
    id: str


@subscriber(OrderPlaced)
async def one(event: OrderPlaced, ctx: SubscriberContext) -> None:
    ctx.emit(OrderPaid(id=event.id), immediately=True)
    ctx.log.info("noted", attempt=ctx.attempt, source=ctx.event.source)


@subscriber(OrderPlaced, id="without-context", concurrency=3, ordered=True)
async def without_context(event: OrderPlaced) -> None:
    event.id.upper()


@subscriber(OrderPlaced, OrderPaid)
async def two(event: OrderPlaced | OrderPaid, ctx: SubscriberContext) -> None:
    event.id.upper()


@subscriber(OrderPlaced, OrderPaid, OrderSent)
async def three(event: OrderPlaced | OrderPaid | OrderSent) -> None:
    event.id.upper()


@subscriber("order.*", "customer.#")
async def pattern(event: dict[str, Any], ctx: SubscriberContext) -> None:
    event["id"].upper()


@subscriber(OrderPlaced)
async def wider(event: Event) -> None:
    event.model_dump()


assert_type(one, Subscriber[[OrderPlaced, SubscriberContext]])
assert_type(without_context, Subscriber[[OrderPlaced]])
assert_type(two, Subscriber[[OrderPlaced | OrderPaid, SubscriberContext]])
assert_type(three, Subscriber[[OrderPlaced | OrderPaid | OrderSent]])
assert_type(pattern, Subscriber[[dict[str, Any], SubscriberContext]])


async def call(ctx: SubscriberContext) -> None:
    await one(OrderPlaced(id="o1"), ctx)
    await without_context(OrderPlaced(id="o1"))
