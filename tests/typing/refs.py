"""Refs keep the type of the value that they stand for, through pick, transform and parallelize."""

from dataclasses import dataclass
from typing import assert_type

from pydantic import BaseModel

from daemon import Ref, parallelize, step, transform


class Line(BaseModel):
    sku: str
    amount: int


@dataclass
class Address:
    city: str


class Order(BaseModel):
    id: str
    lines: list[Line]
    notes: dict[str, int]
    address: Address
    coupon: str | None = None


@step("charge")
async def charge(order: Order) -> int:
    return len(order.lines)


@step("label")
async def label(order: Order) -> str:
    return order.id


@step("weigh")
async def weigh() -> float:
    return 1.0


def picked(order: Ref[Order]) -> None:
    assert_type(order.pick(lambda o: o.id), Ref[str])
    assert_type(order.pick(lambda o: o.lines), Ref[list[Line]])
    assert_type(order.pick(lambda o: o.lines[0].sku), Ref[str])
    assert_type(order.pick(lambda o: o.notes["gift"]), Ref[int])
    assert_type(order.pick(lambda o: o.address.city), Ref[str])
    assert_type(order.pick(lambda o: o.coupon), Ref[str | None])
    assert_type(order.pick(lambda o: o.lines[0]).pick(lambda each: each.amount), Ref[int])


def computed(a: Ref[int], b: Ref[str], c: Ref[float], d: Ref[Order], e: Ref[list[Line]]) -> None:
    assert_type(transform(a, lambda a: a + 1), Ref[int])
    assert_type(transform(a, b, lambda a, b: b * a), Ref[str])
    assert_type(transform(a, b, c, lambda a, b, c: (a, b, c)), Ref[tuple[int, str, float]])
    assert_type(transform(a, b, c, d, lambda a, b, c, d: (d.lines[a], b, c)), Ref[tuple[Line, str, float]])
    assert_type(transform(a, b, c, d, e, lambda a, b, c, d, e: {d.id: e[a], b: e[int(c)]}), Ref[dict[str, Line]])
    assert_type(transform(d, lambda d: d.address.city, name="city"), Ref[str])
    assert_type(transform(e, len), Ref[int])
    assert_type(transform(a, b, named_function), Ref[Line])


def named_function(amount: int, sku: str) -> Line:
    return Line(sku=sku, amount=amount)


def at_the_same_time(order: Ref[Order]) -> None:
    charged, labelled, weighed = parallelize(charge(order), label(order), weigh())
    assert_type(charged, Ref[int])
    assert_type(labelled, Ref[str])
    assert_type(weighed, Ref[float])
    assert_type(parallelize(charge(order)), tuple[Ref[int]])
    assert_type(parallelize(charge(order), label(order), name="both"), tuple[Ref[int], Ref[str]])


def wider(line: Ref[Line]) -> Ref[BaseModel]:
    """A ref of a model is a ref of what the model is."""
    return line
