# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Ref, parallelize, step


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("charge")
async def charge(order: Order) -> int:
    return order.total_cents


@step("count")
async def count() -> int:
    return 1


def place_order(order: Ref[Order]) -> None:
    charged, counted, printed = parallelize(charge(order), count())  # refused
