# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Ref, parallelize, step, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("charge")
async def charge(order: Order) -> int:
    return order.total_cents


@step("label")
async def label(order: Order) -> str:
    return order.id


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    charged, _ = parallelize(charge(order), label(order))
    return charged  # refused
