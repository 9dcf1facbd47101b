"""A loop's result is a list of what its step returns."""

from collections.abc import Sequence
from typing import assert_type

from pydantic import BaseModel

from daemon import Ref, for_each, parallelize, step, transform


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    lines: list[Line]


@step("weigh")
async def weigh(line: Line) -> int:
    return len(line.sku)


@step("measure")
def measure(line: Line) -> float:
    return len(line.sku)


def looped(order: Ref[Order], lines: Ref[Sequence[Line]]) -> None:
    assert_type(for_each(order.pick(lambda o: o.lines), weigh), Ref[list[int]])
    assert_type(for_each(lines, measure, concurrency=3), Ref[list[float]])
    assert_type(for_each(transform(order, lambda o: o.lines[1:]), weigh.named("again")), Ref[list[int]])
    weights, sizes = parallelize(for_each(lines, weigh), for_each(lines, measure))
    assert_type(weights, Ref[list[int]])
    assert_type(sizes, Ref[list[float]])
