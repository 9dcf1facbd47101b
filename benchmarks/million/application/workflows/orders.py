"""Four workflows of ten trivial steps; what an order says decides how a run ends."""

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon import Ref, Retry, Step, step, workflow

STEPS = 10
BEFORE_THE_GATE = 4
_HANGS_S = 3_600.0


class Order(BaseModel):
    """What a run is asked for.

    Attributes:
        fails: `no`, `late` (at the last step, and everything is undone) or `for-good` (a compensation gives up).
        gate: A file without which a step of it hangs; empty: none does.
    """

    id: str
    customer: str = ""
    fails: str = "no"
    gate: str = ""


def _step(name: str) -> Step[Order, Order, Order]:
    @step(name)
    async def carry(order: Order) -> Order:
        return order

    @carry.compensate
    async def drop(_: Order) -> None:
        pass

    return carry


@step("reserve")
async def reserve(order: Order) -> Order:
    """Hang in front of a gate."""
    if order.gate and not Path(order.gate).exists():  # noqa: ASYNC240 - a step of a benchmark
        await asyncio.sleep(_HANGS_S)
    return order


@reserve.compensate
async def release(order: Order) -> None:
    """Give up where that is asked for."""
    if order.fails == "for-good":
        raise RuntimeError(f"the stock of {order.id} is locked")


@step("charge-card")
async def charge(order: Order) -> str:
    """Fail where that is asked for."""
    if order.fails != "no":
        raise RuntimeError(f"the card of {order.id} was declined")
    return order.id


_STEPS = [_step(f"prepare-{number}") for number in range(STEPS - 2)]


def _compose(name: str) -> Any:
    @workflow(name)
    def ten_steps(order: Ref[Order]) -> Ref[str]:
        passed = order
        for each in _STEPS[:BEFORE_THE_GATE]:
            passed = each(passed)
        passed = reserve.options(compensation_retry=Retry.never())(passed)
        for each in _STEPS[BEFORE_THE_GATE:]:
            passed = each(passed)
        return charge(passed)

    return ten_steps


place_order = _compose("place-order")
ship_order = _compose("ship-order")
refund_order = _compose("refund-order")
audit_order = _compose("audit-order")
