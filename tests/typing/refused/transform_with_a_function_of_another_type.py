# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, transform, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


def shout(text: str) -> str:
    return text.upper()


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    return transform(order.pick(lambda o: o.total_cents), shout)  # refused
