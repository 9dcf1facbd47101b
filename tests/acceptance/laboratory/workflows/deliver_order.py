"""Delivers an order once it is paid and somebody has confirmed it; each step writes a line into the file `ledger`."""

from datetime import timedelta
from pathlib import Path

from daemon import Event, Ref, StepContext, StepResponse, step, transform, wait_for_event, workflow


class OrderPaid(Event, name="order.paid"):
    """A payment came in."""

    order_id: str
    cents: int


def note(order_id: str, ctx: StepContext) -> None:
    """Have the effect of a step."""
    with Path(ctx.options["ledger"]).open("a") as ledger:
        ledger.write(f"{ctx.step} {order_id} {ctx.idempotency_key}\n")


@step("pack")
async def pack(order_id: str, ctx: StepContext) -> str:
    """Have an effect before the waits."""
    note(order_id, ctx)
    return order_id


@step("confirm", external=True, timeout=timedelta(days=1))
async def confirm(order_id: str, ctx: StepContext) -> StepResponse[str, str]:
    """Ask somebody who confirms it."""
    note(order_id, ctx)
    return StepResponse.pending(compensate_input=order_id)


@step("deliver")
async def deliver(said: str, ctx: StepContext) -> str:
    """Have an effect after the waits."""
    note(said.partition(":")[0], ctx)
    return said


@workflow("deliver-order")
def deliver_order(order_id: Ref[str]) -> Ref[str]:
    """Pack, wait for the payment and for somebody, and deliver."""
    packed = pack(order_id)
    paid = wait_for_event(OrderPaid, key=packed, match=lambda event: event.order_id, timeout=timedelta(days=2))
    clerk = confirm(packed)
    return deliver(transform(paid, clerk, lambda p, c: f"{p.order_id}:{p.cents}:{c}"))
