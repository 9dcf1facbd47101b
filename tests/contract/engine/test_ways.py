"""One value on every way that values take through runs, one of which is gone on with by another process."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from daemon import PermanentFailure, Ref, RunStatus, StepResponse, for_each, step, transform, when, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.processes import Process


class Planet(Enum):
    EARTH = (5.97, 6.37)


class Spot(NamedTuple):
    row: int
    day: date


class Film(TypedDict):
    title: str
    length: timedelta


@dataclass(frozen=True)
class Parcel:
    id: UUID
    seal: bytes
    tags: frozenset[str]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    born: datetime


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=timezone(timedelta(hours=-3, minutes=30)))
VALUES: dict[str, tuple[Any, Any]] = {
    "decimal": (Decimal, Decimal("-1.10E+30")),
    "moment": (datetime, MOMENT),
    "bytes": (bytes, b"\xff\x00"),
    "set of tuples": (set[tuple[int, str]], {(1, "a"), (2, "b")}),
    "dict by numbers": (dict[int, list[date | None]], {7: [date(2026, 1, 1), None]}),
    "enum of tuples": (Planet, Planet.EARTH),
    "named tuple": (Spot, Spot(1, date(2026, 1, 1))),
    "typed dict": (Film, {"title": "M", "length": timedelta(minutes=117)}),
    "dataclass": (Parcel, Parcel(UUID(int=7), b"\xfe", frozenset({"a"}))),
    "union of models": (list[Pet], [Dog(born=datetime(2026, 1, 1, tzinfo=UTC)), Cat()]),
    "nothing": (Parcel | None, None),
    "text of anything": (str, "\x00 \u2028 \N{SNOWMAN}"),
}


SEEN = sorted(
    [*("first", "approve", "inside", "item", "late", "predicate"), "start", "confirm"]
    + [f"undo {name}" for name in ("start", "confirm", "fail")]
)
REF: Any = Ref
RESPONSE: Any = StepResponse


def declared(fn: Any, takes: Any, gives: Any = None) -> Any:
    """Return a function of `value` with the types that it takes and gives."""
    fn.__annotations__ = {"value": takes, "return": gives}
    return fn


class Ways:
    """Two workflows in which a value goes everywhere, and what everybody saw of it."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.seen: dict[str, Any] = {}
        self.forward = workflow("forward")(declared(self._forward(), REF[kind], dict[str, Any]))
        self.backward = workflow("backward")(declared(self._backward(), REF[kind]))

    def _note(self, where: str, value: Any) -> bool:
        self.seen[where] = value
        return True

    def _forward(self) -> Any:
        first, item, approve, late = map(self._step, ("first", "item", "approve", "late"))
        inside = self._step("inside")

        def go_inside(value: Any) -> Any:
            return inside(value)

        inner = workflow("inner")(declared(go_inside, REF[self.kind], REF[self.kind]))

        def forward(value: Any) -> Any:
            given = first(value)
            child = inner.as_step(approve.options(external=True)(given))
            items = for_each(transform(child, lambda v: [v, v]), item)
            with when(child, lambda v: self._note("predicate", v)) as branch:
                last = late(child)
            return {"child": child, "items": items, "last": branch.output(last)}

        return forward

    def _backward(self) -> Any:
        first, approve, fail = self._step("start"), self._step("confirm"), self._failing()

        def backward(value: Any) -> None:
            fail(approve.options(external=True)(first(value)))

        return backward

    def _step(self, name: str) -> Any:
        async def pass_on(value: Any) -> Any:
            self._note(name, value)
            return StepResponse(value, compensate_input=value)

        async def undo(value: Any) -> None:
            self._note(f"undo {name}", value)

        made = step(name)(declared(pass_on, self.kind, RESPONSE[self.kind, self.kind]))
        made.compensate(declared(undo, self.kind))
        return made

    def _failing(self) -> Any:
        async def fail(value: Any) -> Any:
            raise PermanentFailure("no", compensate_input=value)

        async def undo(value: Any) -> None:
            self._note("undo fail", value)

        made = step("fail")(declared(fail, self.kind, self.kind))
        made.compensate(declared(undo, self.kind))
        return made


@pytest.mark.parametrize(("kind", "value"), VALUES.values(), ids=VALUES)
async def test_a_value_is_the_same_wherever_it_comes_to(
    store: Store, clock: ManualClock, kind: Any, value: Any
) -> None:
    ways = Ways(kind)
    one, two = Process(store, clock, "process-1"), Process(store, clock, "process-2")
    await one.announce()
    await ways.forward(one.container).run(value, run_id="forward")
    await ways.backward(one.container).run(value, run_id="backward")
    await one.die()
    await two.announce()
    await two.take_over(ways.forward, ways.backward)

    await two.engine.complete_step("forward", "approve", value)
    there = await ways.forward(two.container).run(value, run_id="forward", wait=True)
    async with asyncio.TaskGroup() as tasks:
        joined = tasks.create_task(
            ways.backward(two.container).run(value, run_id="backward", wait=True, raise_on_error=False)
        )
        await two.engine.complete_step("backward", "confirm", value)
    back = joined.result()
    await two.engine.drain(0)

    assert there.result == {"child": value, "items": [value, value], "last": value}
    assert back.status is RunStatus.REVERTED
    assert sorted(ways.seen) == SEEN
    for seen in (there.input, back.input, there.steps["late"].input, there.steps["late"].output, *ways.seen.values()):
        assert (type(seen), seen) == (type(value), value)
