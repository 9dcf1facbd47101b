# Refused by: mypy, pyright

from daemon import Ref, for_each, step, workflow


@step("pack")
async def pack(number: int) -> str:
    return str(number)


@workflow("pack-all")
def pack_all(numbers: Ref[list[int]]) -> Ref[str]:
    return for_each(numbers, pack)  # refused
