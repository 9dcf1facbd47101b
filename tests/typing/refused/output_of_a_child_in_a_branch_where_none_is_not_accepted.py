# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, transform, when, workflow


class Order(BaseModel):
    id: str


class Parcel(BaseModel):
    order_id: str


@workflow("pack")
def pack(order: Ref[Order]) -> Ref[Parcel]:
    return transform(order, lambda o: Parcel(order_id=o.id))


@step("weigh")
async def weigh(parcel: Parcel) -> int:
    return len(parcel.order_id)


@workflow("ship")
def ship(order: Ref[Order]) -> None:
    with when(order, lambda o: o.id != "") as known:
        parcel = pack.as_step(order)
    weigh(known.output(parcel))  # refused
