"""The documentation's own examples, as an application has them."""

from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from daemon import (
    Event,
    JobContext,
    Ref,
    Reject,
    Retry,
    RetryAfter,
    RunStatus,
    StepContext,
    StepResponse,
    SubscriberContext,
    job,
    parallelize,
    service,
    step,
    subscriber,
    transform,
    workflow,
)


class Order(BaseModel):
    id: str
    sku: str
    total_cents: int


class Reservation(BaseModel):
    id: str


class Receipt(BaseModel):
    order_id: str
    charge_id: str


class OrderPlaced(Event, name="order.placed"):
    order_id: str
    charge_id: str


class Stock:
    async def reserve(self, sku: str, *, key: str) -> Reservation:
        return Reservation(id=f"{sku} {key}")

    async def release(self, reservation_id: str) -> None: ...


@service
def stock() -> Stock:
    return Stock()


@step("reserve-stock", retry=Retry(max_attempts=4, delay=timedelta(seconds=1)), timeout=timedelta(seconds=10))
async def reserve_stock(sku: str, ctx: StepContext) -> StepResponse[Reservation, str]:
    stock = await ctx.container.aget(Stock)
    reservation = await stock.reserve(sku, key=ctx.idempotency_key)
    return StepResponse(reservation, compensate_input=reservation.id)


@reserve_stock.compensate
async def release_stock(reservation_id: str, ctx: StepContext) -> None:
    stock = await ctx.container.aget(Stock)
    await stock.release(reservation_id)


@step("charge-card")
async def charge_card(order: Order, ctx: StepContext) -> str:
    ctx.emit(OrderPlaced(order_id=order.id, charge_id="charge-1"), immediately=True)
    return "charge-1"


@step("print-label")
def print_label(order: Order) -> bytes:
    return order.sku.encode()


@workflow("place-order", timeout=timedelta(hours=1))
def place_order(order: Ref[Order]) -> Ref[Receipt]:
    reservation = reserve_stock(order.pick(lambda o: o.sku))
    assert_type(reservation, Ref[Reservation])
    charge, label = parallelize(charge_card(order), print_label(order))
    assert_type(label, Ref[bytes])
    reserve_stock.named("reserve-gift")("gift")
    return transform(order, charge, lambda o, c: Receipt(order_id=o.id, charge_id=c))


class HelloInput(BaseModel):
    name: str


class Greeting(BaseModel):
    message: str


@workflow("hello-world")
def hello_world(hello: Ref[HelloInput]) -> Ref[Greeting]:
    return transform(hello, lambda h: Greeting(message=f"hello, {h.name}"))


class CustomerCreated(Event, name="customer.created"):
    id: str
    name: str


@subscriber(CustomerCreated, id="hello-customer", retry=Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4))
async def hello_customer(event: CustomerCreated, ctx: SubscriberContext) -> None:
    run = await hello_world(ctx.container).run(HelloInput(name=event.name))
    ctx.log.info("greeted", message=run.result.message)


@subscriber("customer.*")
async def note(event: dict[str, Any], ctx: SubscriberContext) -> None:
    if "id" not in event:
        raise Reject("it has no id")
    if ctx.attempt > 1:
        raise RetryAfter(timedelta(seconds=1))
    await ctx.container.aget(Stock)


@job("0 0 * * *", name="run-once-a-day", timezone="Europe/Berlin")
async def run_once_a_day(ctx: JobContext) -> None:
    await hello_world(ctx.container).run(HelloInput(name="night"))


async def run(ctx: SubscriberContext, order: Order) -> None:
    run = await place_order(ctx.container).run(order)
    assert_type(run.result.charge_id, str)
    run = await place_order(ctx.container).run(order, run_id="order-17", raise_on_error=False)
    assert_type(run.result, Receipt)
    assert_type(run.status, RunStatus)
    assert_type(run.compensated, list[str])
