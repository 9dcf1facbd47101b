# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@workflow("place-order")
def place_order(order: Ref[Order]) -> None:
    print(order.pick(lambda o: o.total_cents) + 1)  # refused
