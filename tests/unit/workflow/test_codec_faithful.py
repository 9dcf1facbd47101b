"""Values that are known to come back unchanged are held as all others are: the same verdict, JSON and copies."""

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    computed_field,
    model_serializer,
    model_validator,
)

from tests.unit.workflow.kinds import Kind, Line, Number, Right, Size, Text
from tests.unit.workflow.readings import assert_same, is_proven

T = TypeVar("T")


class Gift(Line):
    note: str = ""


class Pair(BaseModel, Generic[T]):
    left: T
    right: T | None = None


class Skus(RootModel[list[str]]):
    """A list by itself."""


class Guarded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: UUID
    lines: list[Line] = Field(default_factory=list)


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True, revalidate_instances="always", validate_default=True)

    id: int = 0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int


class Aliased(BaseModel):
    id: int = Field(alias="orderId")


class Swapped(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    left: int = Field(alias="right")
    right: int = Field(alias="left")


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    name: str


class Bounded(BaseModel):
    count: int = Field(ge=0)


class Private(BaseModel):
    id: int
    _seen: int = PrivateAttr(default=0)


class Computed(BaseModel):
    id: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.id


class Serialized(BaseModel):
    id: Annotated[int, PlainSerializer(lambda value: value + 1)]


class Flattened(BaseModel):
    id: int

    @model_serializer
    def _write(self) -> dict[str, int]:
        return {"id": 7}


class Validated(BaseModel):
    id: Annotated[int, AfterValidator(lambda value: value + 1)]


class Finished(BaseModel):
    id: int

    @model_validator(mode="after")
    def _finish(self) -> "Finished":
        self.id += 1
        return self


class Counting(BaseModel):
    id: int

    def model_post_init(self, _: object) -> None:
        self.id += 1


class Constructed(BaseModel):
    id: int

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "id": given["id"] + 1})


class Equal(BaseModel):
    id: int

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Excluded(BaseModel):
    id: int
    password: str = Field(default="", exclude=True)


class Tree(BaseModel):
    name: str
    parts: list["Tree"] = []


class Cart(BaseModel):
    prices: list[int]

    @cached_property
    def total(self) -> int:
        return sum(self.prices)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = ""


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]

MOMENT = datetime(2026, 1, 31, tzinfo=UTC)
PROVEN: dict[str, tuple[Any, Any]] = {
    "small model": (Line, Line(sku="pen")),
    "model with nested ones": (Guarded, Guarded(id=UUID(int=1), lines=[Line(sku="pen"), Line(sku="ink")])),
    "generic model": (Pair[Line], Pair[Line](left=Line(sku="pen"), right=Line(sku="ink"))),
    "list of models": (list[Line], [Line(sku="pen")]),
    "model or nothing": (Line | None, Line(sku="pen")),
    "dict of lists": (dict[str, list[int | None]], {"a": [1, None]}),
    "set of dates": (set[date], {date(2026, 1, 31)}),
    "moment": (datetime, MOMENT),
    "price": (dict[str, Decimal], {"pen": Decimal("1.10")}),
    "number or text": (list[int | str], [5, "5"]),
    "chosen text": (list[Cat], [Cat()]),
    "chosen size": (list[Size], [Size.SMALL]),
    "custom equality": (Equal, Equal(id=1)),
    "harmless options": (list[Named], [Named(id=1), Named()]),
    "unset fields": (Line, Line.model_construct(sku="pen", count=1, _fields_set=set())),
    "long text": (list[str], ["a" * 5000]),
    "long number": (list[int], [10**4200]),
}


@pytest.mark.parametrize(("type_", "value"), PROVEN.values(), ids=PROVEN)
def test_what_does_nothing_of_its_own_is_not_read_again(type_: Any, value: Any) -> None:
    assert is_proven(type_, value)
    assert_same(type_, value)


DOUBTED: dict[str, tuple[Any, Any]] = {
    "subclass": (Line, Gift(sku="pen")),
    "subclass in a list": (list[Line], [Gift(sku="pen")]),
    "subclass of a text": (Line, Line.model_construct(sku=Text("pen"), count=1)),
    "subclass of a number": (Line, Line.model_construct(sku="pen", count=Number(1))),
    "truth for a number": (Line, Line.model_construct(sku="pen", count=True)),
    "number for a float": (list[float], [1]),
    "no number": (list[float], [math.nan]),
    "no finite price": (list[Decimal], [Decimal("NaN")]),
    "text as key": (dict[str, int], {Kind.A: 1}),
    "moment of an odd zone": (datetime, datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=90)))),
    "other literal": (Literal["a", "b"], "c"),
    "field of another model": (Line, Line(sku="pen").model_copy(update={"more": 1})),
    "extra fields": (Open, Open.model_validate({"id": 1, "more": 2})),
    "alias": (Aliased, Aliased.model_validate({"orderId": 1})),
    "swapped aliases": (Swapped, Swapped.model_validate({"left": 1, "right": 2})),
    "stripped text": (Stripped, Stripped.model_construct(name=" a ")),
    "bound": (Bounded, Bounded.model_construct(count=-1)),
    "private attribute": (Private, Private(id=1)),
    "computed field": (Computed, Computed(id=1)),
    "field serializer": (Serialized, Serialized(id=1)),
    "model serializer": (Flattened, Flattened(id=1)),
    "field validator": (Validated, Validated(id=1)),
    "model validator": (Finished, Finished(id=1)),
    "post init": (Counting, Counting(id=1)),
    "init": (Constructed, Constructed(id=1)),
    "excluded field": (Excluded, Excluded(id=1, password="hunter2")),
    "root model": (Skus, Skus(["pen"])),
    "model of itself": (Tree, Tree(name="a", parts=[Tree(name="b")])),
    "models told apart by a field": (list[Pet], [Cat(), Dog()]),
    "models told apart by trying": (list[Cat | Dog], [Cat(), Dog()]),
    "flags": (list[Right], [Right.READ | Right.WRITE]),
    "mixed literals": (list[Literal[1, "1"]], [1, "1"]),
    "anything": (list[Any], [1]),
}


@pytest.mark.parametrize(("type_", "value"), DOUBTED.values(), ids=DOUBTED)
def test_what_may_come_back_different_is_read_again(type_: Any, value: Any) -> None:
    assert not is_proven(type_, value)
    assert_same(type_, value)


def test_what_a_cached_property_keeps_is_no_part_of_the_copy() -> None:
    cart = Cart(prices=[1, 2])
    assert cart.total == 3

    assert_same(Cart, cart)


@pytest.mark.parametrize("text", ["half a pair \ud800", "\x00", "\N{SNOWMAN}"])
def test_a_text_in_a_model_is_refused_only_if_it_cannot_be_written(text: str) -> None:
    assert_same(Line, Line(sku=text))


@pytest.mark.parametrize("digits", [1, 20, 4300, 4301])
def test_a_number_in_a_model_is_refused_only_if_it_cannot_be_read(digits: int) -> None:
    number = 10 ** (digits - 1)

    assert_same(Line, Line(sku="pen", count=number))
    assert_same(Line, Line(sku="pen", count=-number))


def test_the_limit_is_that_of_the_json() -> None:
    line = Line(sku="pen")
    size_bytes = len(json.dumps({"sku": "pen", "count": 1}, separators=(",", ":")))

    assert_same(Line, line, size_bytes)
    assert_same(Line, line, size_bytes - 1)
