"""Something attempted while a workflow is being composed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon import Ref, step, workflow

HERE = "tests/unit/workflow"


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    id: str
    lines: list[Line]


class Socket:
    """A live object: no JSON form."""


@step("take")
async def take(value: Any) -> Any:
    return value


@step("charge")
async def charge(order: Order) -> int:
    return len(order.lines)


@step("count")
async def count() -> int:
    return 1


def line_of(fn: Callable[..., Any], offset: int = 0) -> str:
    """Return where a function of a test is defined, as an error says it."""
    return f"{HERE}/{Path(fn.__code__.co_filename).name}:{fn.__code__.co_firstlineno + offset}"


def attempt_with(ref_user: Callable[[Any], object]) -> None:
    """Compose a workflow that does something with the ref of its input."""

    @workflow("attempt")
    def _(order: Ref[Order]) -> None:
        ref_user(order)
