"""A workflow that has a bit of everything."""

from datetime import timedelta

from pydantic import BaseModel

from daemon import Ref, Retry, parallelize, step, transform, workflow


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    lines: list[Line]


@step(
    "reserve",
    retry=Retry(max_attempts=4, delay=timedelta(seconds=1), backoff=2.0, jitter=0.1, never_on=(ValueError, KeyError)),
    timeout=timedelta(seconds=10),
    idempotent=True,
)
async def reserve(sku: str) -> str:
    return sku


@reserve.compensate
async def release(sku: str) -> None: ...


@step("charge")
async def charge(sku: str) -> int:
    return len(sku)


@step("label")
def label(line: Line) -> str:
    return line.sku


@workflow("graph-place-order")
def place_order(order: Ref[Order]) -> Ref[str]:
    reserved = reserve(order.pick(lambda o: o.lines[0].sku))
    charged, labelled = parallelize(charge(reserved), label(Line(sku="gift")))
    transform(labelled, lambda text: text in {"pen", "ink", "paper", "ruler", "stapler"})
    return transform(charged, labelled, lambda c, text: f"{c} {text}", name="receipt")
