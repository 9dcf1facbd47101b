# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("charge")
async def charge(order: Order) -> int:
    return order.total_cents


@workflow("place-order")
def place_order() -> Ref[int]:
    return charge()  # refused
