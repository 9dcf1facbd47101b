# Refused by: mypy, pyright, composing

from daemon import step, transform, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("count-it")
def count_it() -> None:
    one = count()
    transform(one, one, one, one, one, one, max)  # refused
