# Refused by: mypy, pyright, composing

from dataclasses import dataclass

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@dataclass
class Label:
    text: str


@step("stick")
async def stick(label: Label) -> str:
    return label.text


@workflow("place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    return stick(Label(order.pick(lambda o: o.id)))  # refused
