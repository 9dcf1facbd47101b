"""A step knows its input, its output and what its compensation gets, however its function is written."""

from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from daemon import PermanentFailure, Ref, Retry, SourceStep, Step, StepContext, StepResponse, step


class Order(BaseModel):
    sku: str


class Reservation(BaseModel):
    id: str


@step("async-none")
async def async_none() -> int:
    return 1


@step("async-none-response")
async def async_none_response() -> StepResponse[int, str]:
    return StepResponse(1, compensate_input="1")


@step("async-one")
async def async_one(order: Order) -> Reservation:
    return Reservation(id=order.sku)


@step("async-one-response")
async def async_one_response(order: Order) -> StepResponse[Reservation, str]:
    return StepResponse(Reservation(id=order.sku), compensate_input=order.sku)


@step("async-two")
async def async_two(order: Order, ctx: StepContext) -> Reservation:
    return Reservation(id=ctx.idempotency_key)


@step("async-two-response")
async def async_two_response(order: Order, ctx: StepContext) -> StepResponse[Reservation, str]:
    if not order.sku:
        return StepResponse.skip()
    if ctx.attempt > 1:
        raise PermanentFailure("no luck", compensate_input=order.sku)
    return StepResponse(Reservation(id=ctx.run_id), ctx.run_id)


@step("plain-none")
def plain_none() -> int:
    return 1


@step("plain-none-response")
def plain_none_response() -> StepResponse[int, str]:
    return StepResponse(1, compensate_input="1")


@step("plain-one")
def plain_one(order: Order) -> Reservation:
    return Reservation(id=order.sku)


@step("plain-one-response")
def plain_one_response(order: Order) -> StepResponse[Reservation, str]:
    return StepResponse(Reservation(id=order.sku), compensate_input=order.sku)


@step("plain-two")
def plain_two(order: Order, ctx: StepContext) -> Reservation:
    return Reservation(id=ctx.run_id)


@step("plain-two-response")
def plain_two_response(order: Order, ctx: StepContext) -> StepResponse[Reservation, str]:
    return StepResponse(Reservation(id=ctx.run_id), compensate_input=order.sku)


@step("nothing")
async def nothing(order: Order) -> None:
    order.sku.upper()


@step("undone-with-its-output")
async def undone_with_its_output(order: Order) -> StepResponse[Reservation, Reservation]:
    return StepResponse(Reservation(id=order.sku))


assert_type(async_none, SourceStep[int, int])
assert_type(async_none_response, SourceStep[int, str])
assert_type(async_one, Step[Order, Reservation, Reservation])
assert_type(async_one_response, Step[Order, Reservation, str])
assert_type(async_two, Step[Order, Reservation, Reservation])
assert_type(async_two_response, Step[Order, Reservation, str])
assert_type(plain_none, SourceStep[int, int])
assert_type(plain_none_response, SourceStep[int, str])
assert_type(plain_one, Step[Order, Reservation, Reservation])
assert_type(plain_one_response, Step[Order, Reservation, str])
assert_type(plain_two, Step[Order, Reservation, Reservation])
assert_type(plain_two_response, Step[Order, Reservation, str])
assert_type(nothing, Step[Order, None, None])
assert_type(undone_with_its_output, Step[Order, Reservation, Reservation])

# What a response gives the compensation: the output, or what stands beside it.
assert_type(StepResponse(1), StepResponse[int, int])
assert_type(StepResponse(1, "undo"), StepResponse[int, str])
assert_type(StepResponse(1, compensate_input="undo"), StepResponse[int, str])
assert_type(StepResponse.skip(), StepResponse[Any, Any])


@async_two_response.compensate
async def undo_with_context(sku: str, ctx: StepContext) -> None:
    ctx.log.info("undone", sku=sku)


@async_one_response.compensate
async def undo(sku: str) -> None:
    sku.upper()


@async_none_response.compensate
async def undo_with_nothing() -> None: ...


@async_one.compensate
async def undo_what_came_out(reservation: Reservation) -> None:
    reservation.id.upper()


@plain_one_response.compensate
def undo_in_a_thread(sku: str) -> None:
    sku.upper()


@plain_two_response.compensate
def undo_in_a_thread_with_context(sku: str, ctx: StepContext) -> None:
    sku.upper()


@plain_none_response.compensate
def undo_in_a_thread_with_nothing() -> None: ...


@plain_two.compensate
async def undo_what_may_be_missing(reservation: Reservation | None) -> None:
    if reservation is not None:
        reservation.id.upper()


@plain_one.compensate
async def undo_whatever_it_is(data: object, ctx: StepContext) -> None:
    ctx.log.info("undone", data=data)


# Another name, and other options for one use, leave the types as they are.
assert_type(async_two_response.named("another"), Step[Order, Reservation, str])
assert_type(async_none_response.named("another"), SourceStep[int, str])
assert_type(
    async_two_response.options(
        retry=Retry(
            max_attempts=4,
            delay=timedelta(seconds=1),
            backoff=2,
            max_delay=timedelta(minutes=1),
            jitter=0.2,
            never_on=(ValueError,),
        ),
        timeout=None,
        on_failure="rollback",
    ),
    Step[Order, Reservation, str],
)
assert_type(async_none.options(timeout=timedelta(seconds=1)).named("another"), SourceStep[int, int])


@step(
    "every-option",
    retry=Retry.never(),
    compensation_retry=Retry(max_attempts=2),
    timeout=timedelta(seconds=10),
    idempotent=True,
    on_failure="rollback",
    external=False,
)
async def every_option(order: Order) -> str:
    return order.sku


assert_type(every_option, Step[Order, str, str])


def composed(order: Ref[Order]) -> None:
    """In a composition a step takes a value or a ref of it, and gives a ref of its output."""
    assert_type(async_two_response(order), Ref[Reservation])
    assert_type(async_two_response(Order(sku="A")), Ref[Reservation])
    assert_type(async_none(), Ref[int])
    assert_type(plain_none_response(), Ref[int])
    assert_type(plain_two.named("another")(order), Ref[Reservation])
    assert_type(nothing(order), Ref[None])


async def bare(ctx: StepContext) -> None:
    """The bare function, for unit tests."""
    assert_type(await async_two_response.run(Order(sku="A"), ctx), Reservation | StepResponse[Reservation, str])
    assert_type(await plain_one.run(Order(sku="A")), Reservation | StepResponse[Reservation, Reservation])
    assert_type(await async_none.run(), int | StepResponse[int, int])
