# Refused by: mypy, pyright, composing

from daemon import StepContext, step


@step("reserve")  # refused
async def reserve(sku: str, amount: int, ctx: StepContext) -> int:
    return amount
