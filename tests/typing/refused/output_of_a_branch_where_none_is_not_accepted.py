# Refused by: mypy, pyright, composing

from daemon import Ref, step, when, workflow


@step("approve")
async def approve(amount: int) -> str:
    return str(amount)


@step("print")
async def print_approval(approval: str) -> None:
    """Take no None."""


@workflow("place-order")
def place_order(amount: Ref[int]) -> None:
    with when(amount, lambda v: v > 100) as large:
        approval = approve(amount)
    print_approval(large.output(approval))  # refused
