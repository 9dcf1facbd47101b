# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import step


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("charge")
async def charge(order: Order) -> int:
    return order.total_cents


@charge.compensate  # refused
async def refund(charge_id: str) -> None: ...
