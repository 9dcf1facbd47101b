# Refused by: mypy, pyright, composing

from daemon import Ref, for_each, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("count-all")
def count_all(numbers: Ref[list[int]]) -> None:
    for_each(numbers, count)  # refused
