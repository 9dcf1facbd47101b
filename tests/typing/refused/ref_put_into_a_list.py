# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("join")
async def join(texts: list[str]) -> str:
    return "".join(texts)


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    return join([order.pick(lambda o: o.id)])  # refused
