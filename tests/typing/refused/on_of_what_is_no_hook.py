# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Hook, Ref, workflow


class Order(BaseModel):
    id: str


order_validated = Hook[Order]("order-validated")


@workflow("place")
def place(order: Ref[Order]) -> None:
    order_validated(order)


place.on("order-validated")  # refused
