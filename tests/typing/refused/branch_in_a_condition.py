# Refused by: mypy, composing

from daemon import Ref, step, when, workflow


@step("approve")
async def approve(amount: int) -> str:
    return str(amount)


@workflow("place-order")
def place_order(amount: Ref[int]) -> None:
    with when(amount, lambda v: v > 100) as large:
        approve(amount)
    if large:  # refused
        approve.named("approve-again")(amount)
