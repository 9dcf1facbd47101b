"""A branch's output is the value, or None."""

from typing import assert_type

from pydantic import BaseModel

from daemon import Branch, Ref, step, transform, when, workflow


class Order(BaseModel):
    id: str
    total_cents: int


@step("approve")
async def approve(order: Order) -> str:
    return order.id


@step("count")
async def count(order: Order) -> int:
    return order.total_cents


@step("note")
async def note(approval: str | None) -> None:
    """Take what may be missing."""


@workflow("conditional")
def conditional(order: Ref[Order]) -> Ref[str]:
    with when(order, lambda o: o.total_cents > 100) as large:
        approval = approve(order)
        with when(approval, bool, name="inner") as inner:
            counted = count(order)
        inside = inner.output(counted)
        assert_type(inside, Ref[int | None])
    with large.otherwise() as small:
        other = count.named("count-small")(order)
    assert_type(large, Branch)
    assert_type(small, Branch)
    assert_type(large.output(approval), Ref[str | None])
    assert_type(large.output(inside), Ref[int | None])
    assert_type(small.output(other), Ref[int | None])
    note(large.output(approval))
    return transform(large.output(approval), small.output(other), lambda a, b: a or str(b))
