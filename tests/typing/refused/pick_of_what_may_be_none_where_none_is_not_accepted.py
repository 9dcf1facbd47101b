# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Order(BaseModel):
    id: str
    note: str | None = None
    lines: list[str] = []


@step("label")
async def label(text: str) -> str:
    return text


@workflow("place-order")
def place_order(order: Ref[Order]) -> None:
    label(order.pick(lambda o: o.note))  # refused
