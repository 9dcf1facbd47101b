# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Ref, step, when, workflow


class Order(BaseModel):
    id: str


@step("approve")
async def approve(order: Order) -> str:
    return order.id


@workflow("place-order")
def place_order(order: Ref[Order]) -> None:
    with when(order, lambda o: o.total > 100):  # refused
        approve(order)
