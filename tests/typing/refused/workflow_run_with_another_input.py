# Refused by: mypy, pyright

import svcs
from pydantic import BaseModel

from daemon import Ref, transform, workflow


class Order(BaseModel):
    id: str
    total_cents: int


class Receipt(BaseModel):
    order_id: str


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[Receipt]:
    return transform(order, lambda o: Receipt(order_id=o.id))


async def run(container: svcs.Container) -> None:
    await place_order(container).run("order-1")  # refused
