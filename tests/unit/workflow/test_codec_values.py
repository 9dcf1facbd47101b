"""Laws and rare kinds of values as JSON: zones, aliases, generics, and equal values of another type."""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr, computed_field
from typing_extensions import TypedDict

from daemon import CodecError
from daemon.workflow.codec import Codec, taken

LIMIT_BYTES = 1_000_000
T = TypeVar("T")
Sku = NewType("Sku", str)


class Colour(Enum):
    RED = "red"
    BLUE = 2


class State(StrEnum):
    OPEN = "open"


class Point(NamedTuple):
    x: Decimal
    y: float


class Address(TypedDict):
    city: str
    code: NotRequired[int]


@dataclass
class Inner:
    when: datetime
    tags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    all: list[Inner]
    colour: Colour | None = None


@dataclass(slots=True)
class Slotted:
    amount: Decimal


@dataclass
class Parcel:
    content: Any


class Pair(NamedTuple):
    left: Any
    right: Any


class Line(BaseModel):
    sku: str
    price: Decimal


class Base(BaseModel):
    id: int


class Derived(Base):
    name: str


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int


class Skus(RootModel[set[str]]):
    """A set by itself."""


class Price(BaseModel):
    cents: int = Field(alias="inCents")


class Aliased(BaseModel):
    id: int = Field(alias="orderId")
    old: str = Field(default="", validation_alias="was")
    new: int = Field(default=3, serialization_alias="newest")
    price: Price | None = None


class Planet(Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.642, 3.39)


class Doubled(BaseModel):
    id: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.id


class Closed(Doubled):
    model_config = ConfigDict(extra="forbid")


class Welcoming(Doubled):
    model_config = ConfigDict(extra="allow")


class Sealed(BaseModel):
    _seal: object = PrivateAttr(default_factory=object)


class Infinite(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")

    ratio: float


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: T | None = None


LINES = [Line(sku="pen", price=Decimal("1.10")), Line(sku="ink", price=Decimal("0.30"))]
INNER = Inner(datetime(2026, 1, 1, tzinfo=UTC), {"a", "b"})
VALUES: dict[str, tuple[Any, Any]] = {
    "large Decimal": (Decimal, Decimal("123456789012345678901234567890.123456789")),
    "tuple of dates": (tuple[date, ...], (date(2026, 1, 1), date(2026, 1, 2))),
    "dict with date keys": (dict[date, Decimal], {date(2026, 1, 1): Decimal("0.10")}),
    "frozenset of enums": (frozenset[Colour], frozenset({Colour.RED, Colour.BLUE})),
    "deque": (deque[date], deque([date(2026, 1, 1)])),
    "Literal": (Literal["a", 1], 1),
    "NewType": (Sku, Sku("pen")),
    "NamedTuple of Decimals": (Point, Point(Decimal("0.10"), 2.5)),
    "TypedDict without a key": (Address, {"city": "Bonn"}),
    "nested dataclass": (Outer, Outer(INNER, [INNER, INNER], Colour.BLUE)),
    "dataclass with slots": (Slotted, Slotted(Decimal("0.10"))),
    "dict of models": (dict[int, Line], {3: LINES[0]}),
    "generic model": (Page[Line], Page[Line](items=LINES, next=LINES[0])),
    "generic model of dates": (Page[date], Page[date](items=[date(2026, 1, 1)])),
    "root model": (Skus, Skus({"a", "b"})),
    "model with extra fields": (Open, Open.model_validate({"id": 1, "more": [1, "a"]})),
    "model with aliases": (Aliased, Aliased.model_validate({"orderId": 1, "was": "a", "price": {"inCents": 5}})),
    "list of models with aliases": (list[Aliased], [Aliased.model_validate({"orderId": 1, "was": "a"})]),
    "subclass in a union": (Derived | Base, Derived(id=1, name="a")),
    "address": (IPv4Address, IPv4Address("127.0.0.1")),
    "text that looks like a moment": (str | datetime, "2026-01-01T00:00:00Z"),
    "enum of tuples": (dict[Planet, list[Planet]], {Planet.MARS: [Planet.EARTH]}),
    "computed field of a model that forbids others": (list[Closed], [Closed(id=1)]),
    "computed field of a model that allows others": (Welcoming, Welcoming(id=1)),
    "computed field": (Doubled, Doubled(id=1)),
    "infinite number of a model that wants it": (Infinite, Infinite(ratio=math.inf)),
    "any list": (Any, [1, "a", None, 1.5, True, {"b": []}]),
}


def round_trip(type_: Any, value: Any) -> Any:
    """Return what a value is in another process."""
    codec = Codec(type_)
    data, held = codec.hold(value, LIMIT_BYTES, "the value")
    restored = taken(codec.restore(data))
    assert same(taken(held), restored)
    return restored


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


@pytest.mark.parametrize(("type_", "value"), VALUES.values(), ids=VALUES)
def test_a_value_of_the_declared_type_comes_back_as_what_it_was(type_: Any, value: Any) -> None:
    assert same(round_trip(type_, value), value)


def test_a_computed_field_is_shown_and_stored_where_the_model_ignores_it_when_it_is_read() -> None:
    stored = [Codec(of).hold(of(id=1), LIMIT_BYTES, "the value")[0] for of in (Doubled, Closed, Welcoming)]

    assert stored == [b'{"id":1,"double":2}', b'{"id":1}', b'{"id":1}']


def test_a_number_that_is_none_comes_back_where_its_model_has_a_text_for_it() -> None:
    data, held = Codec(Infinite).hold(Infinite(ratio=math.nan), LIMIT_BYTES, "the value")

    assert data == b'{"ratio":"NaN"}'
    assert math.isnan(taken(held).ratio)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_moment_in_a_named_zone_comes_back_as_the_same_moment_in_the_hour_that_comes_twice(fold: int) -> None:
    moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))

    back = round_trip(datetime, moment)

    assert back.isoformat() == moment.isoformat()
    assert back.timestamp() == moment.timestamp()


def test_zero_keeps_its_sign() -> None:
    assert math.copysign(1, round_trip(float, -0.0)) == -1


def test_what_a_cached_property_keeps_beside_the_fields_is_no_difference() -> None:
    class Cart(BaseModel):
        prices: list[int]

        @cached_property
        def total(self) -> int:
            return sum(self.prices)

    cart = Cart(prices=[1, 2])
    assert cart.total == 3

    assert round_trip(Cart, cart).total == 3


def marked(parcel: Parcel) -> Parcel:
    parcel.seal = "red"  # type: ignore[attr-defined]
    return parcel


LOST: dict[str, tuple[Any, Any, str]] = {
    "member of a set": (set[Any], {State.OPEN}, "this set would become another value"),
    "member of a named tuple": (Pair, Pair(1, State.OPEN), "at [1]: State would become str"),
    "item of a deque": (deque[Any], deque([State.OPEN]), "at [0]: State would become str"),
    "field of a dataclass": (Parcel, Parcel(State.OPEN), "at content: State would become str"),
    "field of a model": (Page[Any], Page[Any](items=[State.OPEN]), "at items[0]: State would become str"),
    "part of a member of a set": (set[tuple[Any]], {(State.OPEN,)}, "this set would become another value"),
    "text that is read as a moment": (datetime | str, "2026-01-01T00:00:00Z", "str would become datetime"),
    "text that is read as an id": (UUID | str, str(UUID(int=1)), "str would become UUID"),
    "truth that is read as a number": (Literal[1] | bool, True, "bool would become int"),
    "attribute of a dataclass": (Parcel, marked(Parcel(1)), "Parcel with seal would become Parcel"),
    "length of a deque": (deque[int], deque([1], maxlen=2), "this deque would become another value"),
    "zone of a time": (time, time(2, tzinfo=ZoneInfo("Europe/Berlin")), "this time would become another value"),
    "second of two hours": (datetime, datetime(2026, 10, 25, 2, fold=1), "this datetime would become another"),  # noqa: DTZ001
    "half a pair as a key": (dict[str, int], {"\ud800": 1}, "the keys '\\ud800' (str) would become"),
    "private attribute": (
        Sealed,
        Sealed(),
        "at _seal: this object, which is private and thus not stored, would become",
    ),
    "secret": (SecretStr, SecretStr("hunter2"), "this SecretStr would become another value"),
}


@pytest.mark.parametrize(("type_", "value", "sentence"), LOST.values(), ids=LOST)
def test_a_part_that_would_lose_its_type_is_refused_even_if_it_is_equal(type_: Any, value: Any, sentence: str) -> None:
    with pytest.raises(CodecError) as refused:
        Codec(type_).hold(value, LIMIT_BYTES, "the value")

    assert str(refused.value).startswith("the value would come back different")
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)


class Mixed(BaseModel):
    when: datetime
    amount: Decimal
    span: timedelta


WHENS = st.datetimes(min_value=datetime(1980, 1, 1), timezones=st.timezones())  # noqa: DTZ001 - what hypothesis takes


@given(WHENS, st.decimals(allow_nan=False, allow_infinity=False), st.timedeltas())
def test_moments_decimals_and_spans_come_back_in_a_model(when: datetime, amount: Decimal, span: timedelta) -> None:
    back = round_trip(Mixed, Mixed(when=when, amount=amount, span=span))

    assert back.when.isoformat() == when.isoformat()
    assert (back.amount, back.span) == (amount, span)


def test_a_codec_tells_whether_it_takes_what_another_one_gives() -> None:
    assert Codec(Any).takes(Codec(Line))
    assert Codec(Base).takes(Codec(Derived))
    assert Codec(list[Line]).takes(Codec(list[Line]))
    assert not Codec(Derived).takes(Codec(Base))
    assert not Codec(list[Line]).takes(Codec(list[Any]))
