# Refused by: mypy, pyright

from pydantic import BaseModel

from daemon import Hook, Ref, workflow


class Order(BaseModel):
    id: str


order_validated = Hook[Order]("order-validated")


@workflow("place")
def place(order: Ref[Order]) -> None:
    order_validated(order)


async def check(text: str) -> None:
    """Take a text."""


place.on(order_validated)(check)  # refused
