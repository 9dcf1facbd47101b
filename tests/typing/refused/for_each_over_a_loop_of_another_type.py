# Refused by: mypy, pyright, composing

from daemon import Ref, for_each, step, workflow


@step("double")
async def double(number: int) -> int:
    return 2 * number


@step("label")
async def label(text: str) -> str:
    return text


@workflow("place-order")
def place_order(numbers: Ref[list[int]]) -> None:
    doubled = for_each(numbers, double)
    for_each(doubled, label)  # refused
