# Refused by: mypy, pyright, composing

from daemon import Ref, for_each, step, workflow


@step("pack")
async def pack(number: int) -> int:
    return number


@workflow("pack-all")
def pack_all(number: Ref[int]) -> None:
    for_each(number, pack)  # refused
