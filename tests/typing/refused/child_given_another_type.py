# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, transform, workflow


class Order(BaseModel):
    id: str


class Parcel(BaseModel):
    order_id: str


@workflow("pack")
def pack(order: Ref[Order]) -> Ref[Parcel]:
    return transform(order, lambda o: Parcel(order_id=o.id))


@workflow("ship")
def ship(text: Ref[str]) -> Ref[Parcel]:
    return pack.as_step(text)  # refused
