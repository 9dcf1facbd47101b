# Refused by: mypy, pyright

from daemon import Ref, step, when, workflow


@step("approve")
async def approve(amount: int) -> str:
    return str(amount)


@workflow("place-order")
def place_order(amount: Ref[int]) -> Ref[str]:
    with when(amount, lambda v: v > 100) as large:
        approval = approve(amount)
    return large.output(approval)  # refused
