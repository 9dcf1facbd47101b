# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Order(BaseModel):
    id: str
    total_cents: int
    lines: list[str] = []


@step("count")
async def count() -> int:
    return 1


@workflow("count-it")  # refused
def count_it(order: Order) -> Ref[int]:
    return count()
