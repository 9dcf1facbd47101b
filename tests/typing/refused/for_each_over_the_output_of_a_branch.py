# Refused by: mypy, pyright, composing

from daemon import Ref, for_each, step, when, workflow


@step("double")
async def double(number: int) -> int:
    return 2 * number


@step("find")
async def find() -> list[int]:
    return [1]


@workflow("place-order")
def place_order(number: Ref[int]) -> None:
    with when(number, lambda n: n > 1) as large:
        found = find()
    for_each(large.output(found), double)  # refused
