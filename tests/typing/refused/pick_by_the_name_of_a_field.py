# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, workflow


class Order(BaseModel):
    id: str
    note: str | None = None
    lines: list[str] = []


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    return order.pick("id")  # refused
