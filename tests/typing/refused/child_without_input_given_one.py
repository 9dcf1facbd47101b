# Refused by: mypy, pyright, composing

from daemon import Ref, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("counting")
def counting() -> Ref[int]:
    return count()


@workflow("ship")
def ship(number: Ref[int]) -> Ref[int]:
    return counting.as_step(number)  # refused
