# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Hook, Ref, workflow


class Order(BaseModel):
    id: str


order_validated = Hook[Order]("order-validated")


@workflow("place")
def place(order: Ref[Order]) -> None:
    order_validated(order)


@place.on(order_validated)
async def check(order: Order) -> int:
    return len(order.id)


async def uncheck(order: Order) -> None:
    """Take an order."""


check.compensate(uncheck)  # refused
