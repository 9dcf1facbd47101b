# Refused by: mypy, pyright, composing

from daemon import Ref, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("count-it")  # refused
def count_it(first: Ref[int], second: Ref[int]) -> Ref[int]:
    return count()
