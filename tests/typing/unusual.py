"""What is legal though one writes it seldom: type checkers accept it, and so does composing."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NoReturn, TypedDict, TypeVar, assert_type

from pydantic import BaseModel, Field

from daemon import (
    Hook,
    PermanentFailure,
    Ref,
    Schedule,
    SourceStep,
    Step,
    StepContext,
    StepResponse,
    Workflow,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)

T = TypeVar("T")
K = TypeVar("K")
Sku = NewType("Sku", str)


class Line(BaseModel):
    sku: Sku
    cents: int = 0


class Order(BaseModel):
    id: str = "order-1"
    lines: list[Line] = []
    note: str | None = None


class Gift(Order):
    card: str = ""


class Page(BaseModel, Generic[T]):
    items: list[T]


class Row(TypedDict):
    id: str


class Pair(NamedTuple):
    left: int
    right: str


@dataclass
class Parcel:
    grams: int = 1


class Colour(StrEnum):
    RED = "red"


@step("refuse")
async def refuse(order: Order) -> NoReturn:
    raise PermanentFailure(order.id)


@step("either")
async def either(value: float | str | None) -> Order | Parcel | None:
    return Parcel() if value else None


@either.compensate
async def undo_either(data: Order | Parcel | str | None, ctx: StepContext) -> None:
    """Take more than it gets."""


@step("page")
async def page(order: Order) -> Page[Line]:
    return Page(items=order.lines)


@page.compensate
async def undo_page() -> None:
    """Take nothing."""


@step("look-up")
async def look_up(sku: Sku) -> Sku:
    return sku


@step("choose")
async def choose(value: Literal["a", "b"]) -> Literal[1, 2]:
    return 1 if value == "a" else 2


@step("bounded")
async def bounded(value: Annotated[int, Field(ge=0)]) -> Annotated[str, Field(min_length=1)]:
    return str(value)


@step("pair")
async def pair(row: Row) -> Pair:
    return Pair(1, row["id"])


@step("paint")
async def paint(colour: Colour) -> Colour:
    return colour


@step("anything")
async def anything(value: object) -> object:
    return value


@step("source")
def source() -> StepResponse[int, str]:
    return StepResponse(1, "undo")


def logged(fn: Callable[[K], Awaitable[T]]) -> Callable[[K], Awaitable[T]]:
    @functools.wraps(fn)
    def inner(value: K) -> Awaitable[T]:
        return fn(value)

    return inner


@step("decorated")
@logged
async def decorated(value: int) -> str:
    return str(value)


def made(name: str) -> Step[int, int, int]:
    @step(name)
    async def increment(value: int) -> int:
        return value + 1

    return increment


assert_type(either, Step[float | str | None, Order | Parcel | None, Order | Parcel | None])
assert_type(decorated, Step[int, str, str])
assert_type(source, SourceStep[int, str])
order_seen = Hook[Order]("order-seen")


@workflow("constants")
def constants() -> None:
    either("text")
    either.named("either-number")(1)
    either.named("either-none")(None)
    pair({"id": "x"})
    paint(Colour.RED)
    choose("a")
    bounded(1)
    for number in range(3):
        made(f"made-{number}")(number)


@workflow("subclasses")
def subclasses(gift: Ref[Gift]) -> Ref[Order]:
    order_seen(gift)
    page(gift)
    anything(gift)
    either(gift.pick(lambda g: g.note))
    refuse.options(on_failure="continue")(gift)
    return gift


@subclasses.on(order_seen)
def of_any_order(order: Order) -> int:
    return len(order.lines)


@of_any_order.compensate
def undo_of_any_order(data: float) -> None:
    """Take what an int may stand for."""


@workflow("lists")
def lists(order: Ref[Order]) -> Ref[list[Sku]]:
    skus = transform(order, lambda o: [line.sku for line in o.lines])
    cents = transform(order, lambda o: tuple(line.cents for line in o.lines))
    assert_type(cents, Ref[tuple[int, ...]])
    for_each(cents, made("made-of-cents"), concurrency=1)
    again = for_each(for_each(skus, look_up), look_up.named("look-up-again"))
    first, looked_up, paged = parallelize(
        look_up.named("look-up-first")(order.pick(lambda o: o.lines[0].sku)),
        for_each(again, look_up.named("look-up-once-more")),
        subclasses.as_step(Gift()),
    )
    assert_type(first, Ref[Sku])
    assert_type(paged, Ref[Order])
    return looked_up


@workflow("branches")
def branches(order: Ref[Order]) -> Ref[int | None]:
    with when(order, lambda o: bool(o.note)) as noted:
        length = transform(order.pick(lambda o: o.note), lambda note: len(note or ""))
        with when(length, lambda n: n > 1) as long:
            deep = made("deep")(length)
        kept = long.output(deep)
    with noted.otherwise() as other:
        one = source()
    assert_type(noted.output(kept), Ref[int | None])
    return transform(noted.output(kept), other.output(one), lambda a, b: a if a is not None else b)


@workflow("structures")
def structures(number: Ref[int]) -> dict[str, Ref[int] | list[Ref[int]]]:
    return {"number": number, "list": [number]}


@workflow("optional", schedule=Schedule("0 0 * * *", data=3))
def optional(number: Ref[int]) -> Ref[int | None]:
    return number


assert_type(structures, Workflow[int, Any])
assert_type(optional, Workflow[int, int | None])
