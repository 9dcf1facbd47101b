# Refused by: mypy, pyright, composing

from daemon import Ref, step, when, workflow


@step("approve")
async def approve(amount: int) -> str:
    return str(amount)


@workflow("place-order")
def place_order(amount: Ref[int]) -> None:
    with when(100, lambda v: v > 100):  # refused
        approve(amount)
