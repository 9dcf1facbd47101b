"""Something attempted while a workflow is being composed."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from daemon import Ref, step, workflow


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    id: str
    lines: list[Line]


@step("take")
async def take(value: Any) -> Any:
    return value


def attempt_with(ref_user: Callable[[Any], object]) -> None:
    """Compose a workflow that does something with the ref of its input."""

    @workflow("attempt")
    def _(order: Ref[Order]) -> None:
        ref_user(order)
