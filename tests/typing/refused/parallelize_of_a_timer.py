# Refused by: mypy, composing

from datetime import timedelta

from daemon import Ref, parallelize, sleep, step, workflow


@step("count")
async def count() -> int:
    return 1


@workflow("nap")
def nap() -> Ref[int]:
    return parallelize(count(), sleep(timedelta(seconds=1)))[0]  # refused
