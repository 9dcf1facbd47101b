# Refused by: mypy, pyright

from daemon import step


@step("double")
async def double(number: int) -> int:
    return 2 * number


@double.compensate  # refused
async def halve(number: int) -> int:
    return number // 2
