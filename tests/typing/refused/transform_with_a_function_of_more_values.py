# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, transform, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


def join(first: str, second: str) -> str:
    return first + second


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    return transform(order.pick(lambda o: o.id), join)  # refused
