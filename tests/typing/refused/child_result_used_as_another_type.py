# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, transform, workflow


class Order(BaseModel):
    id: str


class Parcel(BaseModel):
    order_id: str


@workflow("pack")
def pack(order: Ref[Order]) -> Ref[Parcel]:
    return transform(order, lambda o: Parcel(order_id=o.id))


@step("weigh")
async def weigh(order: Order) -> int:
    return len(order.id)


@workflow("ship")
def ship(order: Ref[Order]) -> Ref[int]:
    return weigh(pack.as_step(order))  # refused
