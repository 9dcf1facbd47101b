"""Children, timers, waits, events and hooks know their types."""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from daemon import (
    Event,
    Hook,
    Ref,
    Retry,
    Schedule,
    SkipTo,
    SourceStep,
    SourceWorkflow,
    Step,
    StepContext,
    StepResponse,
    Workflow,
    emit,
    parallelize,
    sleep,
    sleep_until,
    step,
    transform,
    wait_for_event,
    when,
    workflow,
)


class Order(BaseModel):
    id: str
    due: datetime


class Receipt(BaseModel):
    order_id: str


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str
    amount_cents: int


class OrderPlaced(Event, name="order.placed"):
    order_id: str


order_validated = Hook[Order]("order-validated")
assert_type(order_validated, Hook[Order])


@step("approve", external=True)
async def approve(order: Order) -> StepResponse[str, int]:
    return StepResponse.pending(compensate_input=len(order.id))


@step("charge", on_failure="continue")
async def charge(order: Order) -> int:
    return len(order.id)


@step("count")
def count() -> int:
    return 1


@step("risk", on_failure=SkipTo("count"))
def risk() -> int:
    return 1


@workflow("child", max_concurrency=3, retention=timedelta(days=1))
def child(order: Ref[Order]) -> Ref[Receipt]:
    return transform(order, lambda o: Receipt(order_id=o.id))


@workflow("source", schedule="@daily")
def source() -> Ref[int]:
    return count()


@workflow("quiet", schedule=Schedule(timedelta(hours=1), data="quiet"))
def quiet(text: Ref[str]) -> None:
    order_validated(Order(id="1", due=datetime(2030, 1, 1, tzinfo=UTC)))


@workflow("structured", schedule=timedelta(hours=1))
def structured() -> dict[str, Ref[int]]:
    return {"count": count()}


@workflow("parent")
def parent(order: Ref[Order]) -> Ref[Receipt]:
    assert_type(approve, Step[Order, str, int])
    assert_type(approve(order), Ref[str])
    assert_type(charge.options(on_failure=SkipTo("end"), external=False), Step[Order, int, int])
    assert_type(risk(), Ref[int])
    count()
    assert_type(child.as_step(order, name="again"), Ref[Receipt])
    assert_type(source.as_step(), Ref[int])
    assert_type(quiet.as_step("text"), Ref[None])
    assert_type(structured.as_step(name="more"), Ref[Any])
    receipt, number, charged = parallelize(child.as_step(order), source.as_step(name="two"), charge(order))
    assert_type(receipt, Ref[Receipt])
    assert_type(number, Ref[int])
    assert_type(charged, Ref[int])
    sleep(timedelta(hours=1))
    sleep_until(order.pick(lambda o: o.due))
    sleep_until(transform(order, lambda o: o.due + timedelta(days=1)), name="a-day-later")
    sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    with when(order, lambda o: o.due.hour > 1) as late:
        paid = wait_for_event(
            PaymentCaptured, key=order.pick(lambda o: o.id), match=lambda e: e.order_id, timeout=timedelta(days=2)
        )
        assert_type(paid, Ref[PaymentCaptured])
        assert_type(paid.pick(lambda e: e.amount_cents), Ref[int])
        inside = child.as_step(order, name="inside")
    assert_type(late.output(paid), Ref[PaymentCaptured | None])
    assert_type(late.output(inside), Ref[Receipt | None])
    order_validated(order)
    emit(transform(order, lambda o: OrderPlaced(order_id=o.id)))
    emit(OrderPlaced(order_id="1"), immediately=True, name="at-once")
    return receipt


assert_type(child, Workflow[Order, Receipt])
assert_type(source, SourceWorkflow[int])
assert_type(parent.schedule, Schedule | None)
assert_type(parent.retention, timedelta | None)
assert_type(parent.max_concurrency, int | None)


@parent.on(order_validated)
async def note(order: Order) -> None: ...


@parent.on(order_validated, retry=Retry(max_attempts=3), timeout=timedelta(seconds=5), idempotent=True)
def check(order: Order, ctx: StepContext) -> StepResponse[int, str]:
    return StepResponse(1, compensate_input=order.id)


@check.compensate
async def uncheck(order_id: str) -> None: ...


@parent.on(order_validated)
async def look() -> int:
    return 1


@look.compensate
def unlook(number: int, ctx: StepContext) -> None: ...


assert_type(note, Step[Order, None, None])
assert_type(check, Step[Order, int, str])
assert_type(look, SourceStep[int, int])
