# Refused by: mypy, pyright, composing

from daemon import Ref, step, transform, workflow


@step("double")
async def double(number: int) -> int:
    return 2 * number


@workflow("place-order")
def place_order(number: Ref[int]) -> Ref[int]:
    return transform(number, double)  # refused
