# Refused by: mypy, pyright

from daemon import Ref, step


@step("count")
async def count() -> int:
    return 1


def place_order(order: Ref[str]) -> Ref[int]:
    return count(order)  # refused
