# Refused by: mypy, pyright, composing

from daemon import Ref, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("place-order")
def place_order(order: Ref[str]) -> Ref[int]:
    return count(order)  # refused
