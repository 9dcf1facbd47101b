"""Values as JSON of their declared types: what comes back as what it was, and what is refused instead of changed."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from typing_extensions import TypedDict

from daemon.errors import CodecError, PayloadTooLargeError
from daemon.workflow.codec import Codec, Held, taken

LIMIT = 1 << 20
SECRET = "hunter2-swordfish"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1


class Kind(StrEnum):
    A = "a"


class Line(BaseModel):
    sku: str
    price: Decimal


class Order(BaseModel):
    id: UUID
    placed: datetime
    day: date
    for_: timedelta = Field(alias="for")
    lines: list[Line]
    tags: set[str]
    by_colour: dict[Colour, int]
    pair: tuple[int, Line]
    note: str | None = None

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Gift(Line):
    wrapped: bool


@dataclasses.dataclass
class Point:
    x: int
    at: datetime


class Movie(TypedDict):
    title: str
    year: int


class Spot(NamedTuple):
    row: int
    colour: Colour


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str]


MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
LINE = Line(sku="A-1", price=Decimal("1.10"))
ORDER = Order(
    id=UUID(int=1),
    placed=MOMENT,
    day=date(2026, 3, 29),
    for_=timedelta(days=1, microseconds=1),
    lines=[LINE],
    tags={"a", "b"},
    by_colour={Colour.RED: 1},
    pair=(1, LINE),
)


def round_trip(value: Any, type_: Any) -> Any:
    """Return a value as a step after a crash gets it: from its stored JSON alone."""
    data, _ = Codec(type_).hold(value, LIMIT, "the value")
    return taken(Codec(type_).restore(data))


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (MOMENT, datetime),
        (MOMENT.replace(tzinfo=None), datetime),
        (MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))), datetime),
        (date(2026, 1, 2), date),
        (time(1, 2, 3, 4), time),
        (timedelta(days=-1, seconds=5, microseconds=7), timedelta),
        (timedelta(days=400), timedelta),
        (Decimal("0.10"), Decimal),
        (Decimal("1E+30"), Decimal),
        (UUID(int=42), UUID),
        (b"", bytes),
        (bytes(range(256)), bytes),
        ({1, 2}, set[int]),
        (frozenset({"a"}), frozenset[str]),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        (Colour.BLUE, Colour),
        (Size.SMALL, Size),
        (Kind.A, Kind),
        (Spot(1, Colour.RED), Spot),
        (Point(1, MOMENT), Point),
        ({"title": "M", "year": 1931}, Movie),
        (ORDER, Order),
        ([ORDER, ORDER], list[Order]),
        ([ORDER], Sequence[Order]),
        ({UUID(int=1): LINE}, dict[UUID, Line]),
        ({1: "a", 2: "b"}, dict[int, str]),
        (None, Order | None),
        (ORDER, Optional[Order]),  # noqa: UP045 - the old way to write it, too
        (5, int | str),
        ("5", int | str),
        (MOMENT, datetime | str),
        ("2026-03-29", str | date),
        (Cat(lives=9), Cat | Dog),
        ([Dog(tricks=["sit"]), Cat(lives=9)], list[Cat | Dog]),
        (1.5, float),
        (2, float),
        (2**70, int),
        (True, bool),
        (None, None),
        ("ümlaut \N{SNOWMAN} \u2028", str),
        ({"deep": [{"a": None, "b": [1, 2.5, "x", True]}]}, Any),
        ({"a": 1}, dict[str, Any]),
        ("plain", object),
        (PurePosixPath("/a/b"), PurePosixPath),
    ],
)
def test_a_value_comes_back_as_what_it_was(value: Any, type_: Any) -> None:
    back = round_trip(value, type_)

    assert back == value
    assert type(back) is (float if type_ is float else type(value))


def test_a_set_in_a_model_and_a_key_that_is_no_text_come_back() -> None:
    back = round_trip(ORDER, Order)

    assert isinstance(back.tags, set)
    assert isinstance(back.lines[0].price, Decimal)
    assert list(back.by_colour) == [Colour.RED]
    assert isinstance(back.pair, tuple)


class Hidden(BaseModel):
    shown: int
    _hidden: int = PrivateAttr(default=0)


class Excluded(BaseModel):
    shown: int
    password: str = Field(exclude=True)


class Lossy(BaseModel):
    ratio: float


class Blob(BaseModel):
    content: bytes


@dataclasses.dataclass
class Chunk:
    content: bytes
    blobs: list[Blob]


class Hexed(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")

    content: bytes


class Socket:
    """Has no JSON form."""


@pytest.mark.parametrize(
    ("value", "type_", "says"),
    [
        (float("nan"), float, "would not come back from JSON as float"),
        (Lossy(ratio=float("inf")), Lossy, "ratio"),
        ({"a": [1.0, float("nan")]}, Any, "a[1]"),
        (MOMENT, object, "datetime would become str"),
        ({"placed": MOMENT}, dict[str, object], "at placed: datetime would become str"),
        ([UUID(int=1)], Any, "at [0]: UUID would become str"),
        ({1: "a"}, dict, "the keys 1 (int) would become '1' (str)"),
        ((1, 2), Any, "tuple would become list"),
        ({1}, Any, "set would become list"),
        (LINE, Any, "Line would become dict"),
        (Gift(sku="A", price=Decimal(1), wrapped=True), Line, "Gift with wrapped would become Line"),
        ([Gift(sku="A", price=Decimal(1), wrapped=True)], list[Line], "at [0]"),
        (Kind.A, str, "Kind would become str"),
        (True, int, "bool would become int"),
        (Excluded(shown=1, password=SECRET), Excluded, "password"),
        ("text", int, "is str where int is declared"),
        ({"sku": "A"}, Line, "Line"),
        (Socket(), Any, "cannot be stored as JSON"),
        ({"a": [1, {"b": Socket()}]}, dict[str, Any], "a[1].b"),
        (ORDER.model_copy(update={"note": Socket()}), Order, "note"),
        (ORDER.model_copy(update={"lines": [LINE.model_copy(update={"price": SECRET})]}), Order, "price"),
        ("\ud800", str, "surrogates not allowed"),
    ],
)
def test_what_would_come_back_different_is_refused_and_named(value: Any, type_: Any, says: str) -> None:
    with pytest.raises(CodecError) as refused:
        Codec(type_).hold(value, LIMIT, "the output of step 'x'")

    assert str(refused.value).startswith("the output of step 'x' ")
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


def test_bytes_in_models_come_back_whatever_they_are() -> None:
    every = bytes(range(256))
    value = Chunk(every, [Blob(content=every)])

    assert round_trip(value, Chunk) == value
    assert round_trip({"a": Hexed(content=every)}, dict[str, Hexed]) == {"a": Hexed(content=every)}
    assert every.hex().encode() in Codec(Hexed).hold(Hexed(content=every), LIMIT, "the value")[0]


def test_a_private_attribute_that_would_be_lost_is_refused() -> None:
    value = Hidden(shown=1)
    value._hidden = 7

    with pytest.raises(CodecError, match="_hidden"):
        Codec(Hidden).hold(value, LIMIT, "the value")


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(CodecError, match=r"the value cannot be stored as JSON: .* digits"):
        Codec(int).hold(10**5000, LIMIT, "the value")


def test_a_cycle_is_refused() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(CodecError, match="the value"):
        Codec(list[Any]).hold(value, LIMIT, "the value")


def test_stored_json_that_no_longer_fits_names_every_field_and_no_value() -> None:
    with pytest.raises(CodecError) as refused:
        Codec(Line).decode(json.dumps({"sku": 7, "price": SECRET}).encode())

    assert "sku: " in str(refused.value)
    assert "price: " in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(("value", "type_"), [("x" * 99, str), (["x" * 97], list[str])], ids=["plain", "held"])
def test_the_limit_counts_the_bytes_of_the_json(value: Any, type_: Any) -> None:
    codec = Codec(type_)

    data, _ = codec.hold(value, 101, "the value")

    assert len(data) == 101
    with pytest.raises(PayloadTooLargeError, match=r"the value is 101 bytes as JSON; the limit is 100 \(daemon"):
        codec.hold(value, 100, "the value")


@pytest.mark.parametrize("type_", [Socket, list[Socket]])
def test_a_type_without_a_json_form_is_refused(type_: Any) -> None:
    with pytest.raises(CodecError, match="has no JSON form"):
        Codec(type_)


def test_everybody_gets_a_copy_of_their_own() -> None:
    value = [1]
    _, held = Codec(list[int]).hold(value, LIMIT, "the value")
    assert type(held) is Held

    first, second = held.take(), held.take()
    first.append(2)
    value.append(3)

    assert (first, second, held.take()) == ([1, 2], [1], [1])


def test_plain_values_are_kept_as_they_are() -> None:
    for value in (1, "text", True, None):
        _, held = Codec(Any).hold(value, LIMIT, "the value")
        assert held is value
