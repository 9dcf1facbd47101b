# Refused by: mypy, pyright, composing

from daemon import Ref, for_each, step, workflow


@step("pack")
async def pack(sku: str) -> str:
    return sku


@workflow("pack-all")
def pack_all(numbers: Ref[list[int]]) -> None:
    for_each(numbers, pack)  # refused
