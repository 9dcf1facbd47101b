# Refused by: mypy, pyright, composing

from daemon import Ref, emit, workflow


@workflow("place-order")
def place_order(number: Ref[int]) -> None:
    emit("order.placed")  # refused
