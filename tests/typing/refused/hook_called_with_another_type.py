# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Hook, Ref, workflow


class Order(BaseModel):
    id: str


order_validated = Hook[Order]("order-validated")


@workflow("place")
def place(text: Ref[str]) -> None:
    order_validated(text)  # refused
