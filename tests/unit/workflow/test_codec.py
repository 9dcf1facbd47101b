"""Values as JSON of their declared types: what comes back as what it was, and what is refused instead of changed."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from daemon.errors import CodecError, PayloadTooLargeError
from daemon.workflow.codec import Codec, Held
from tests.unit.workflow.coded import LIMIT, LINE, MOMENT, ORDER, SECRET, Colour, Kind, Line, Order, Socket, round_trip


class Size(IntEnum):
    SMALL = 1


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
