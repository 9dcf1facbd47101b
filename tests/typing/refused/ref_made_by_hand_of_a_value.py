# Refused by: mypy, pyright

from daemon import Ref, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("count-it")
def count_it() -> Ref[int]:
    return 1  # refused
