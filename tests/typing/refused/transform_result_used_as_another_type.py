# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Ref, step, transform, workflow


class Order(BaseModel):
    id: str
    note: str | None = None
    lines: list[str] = []


@step("double")
async def double(number: int) -> int:
    return 2 * number


@workflow("place-order")
def place_order(order: Ref[Order]) -> None:
    double(transform(order, lambda o: o.id))  # refused
