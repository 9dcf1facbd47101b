# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Ref, transform, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@workflow("place-order")
def place_order(order: Ref[Order]) -> None:
    transform(order, lambda o: o.price)  # refused
