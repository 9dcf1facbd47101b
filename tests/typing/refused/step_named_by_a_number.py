# Refused by: mypy, pyright, composing

from daemon import Ref, step, workflow


@step("double")
async def double(number: int) -> int:
    return 2 * number


@workflow("place-order")
def place_order(number: Ref[int]) -> None:
    double.named(2)(number)  # refused
