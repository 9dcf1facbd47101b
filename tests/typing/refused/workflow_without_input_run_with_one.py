# Refused by: mypy, pyright

import svcs

from daemon import Ref, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("count-it")
def count_it() -> Ref[int]:
    return count()


async def run(container: svcs.Container) -> None:
    await count_it(container).run(1)  # refused
