"""Which declared types may stand for which."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict, TypeVar

import pytest
from pydantic import AwareDatetime, BaseModel, Field, SecretStr

from daemon import (
    CodecError,
)
from daemon.workflow.codec import Codec
from daemon.workflow.fitting import fits

T = TypeVar("T")
Sku = NewType("Sku", str)


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    id: str
    lines: list[Line] = []


class Gift(Order):
    card: str


class Row(TypedDict):
    id: str


@dataclass
class Parcel:
    grams: int


class Pair(NamedTuple):
    left: int
    right: int


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (str, int),
        (float, int),
        (int, Decimal),
        (None, int),
        (int | None, int),
        (int | str, int),
        (Order, Line),
        (Order, Parcel),
        (dict, Order),
        (Row, Order),
        (list[int], list[str]),
        (list[int] | None, list[int]),
        (dict[str, int], dict[str, Order]),
        (list[int], tuple[int, ...]),
        (Sku, int),
        (Literal["a"], int),
        (Annotated[int, Field(gt=1)], str),
        (Colour, int),
    ],
    ids=str,
)
def test_a_type_of_which_some_value_cannot_be_another_does_not_fit(given: Any, wanted: Any) -> None:
    assert not fits(given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, float),
        (bool, int),
        (int, int | None),
        (Gift, Order),
        (Order, Gift),
        (datetime, date),
        (Any, int),
        (int, object),
        (list, list[int]),
        (list, list),
        (set, set),
        (list[int], Sequence[int]),
        (Row, dict[str, Any]),
        (Pair, tuple[int, int]),
        (str, Literal["a"]),
        (Sku, str),
        (str, Colour),
        (SecretStr, str),
        (AwareDatetime, datetime),
        (T, int),
        (Callable[[], int], int),
    ],
    ids=str,
)
def test_a_type_fits_where_its_values_may_be_what_is_declared_or_nobody_knows(given: Any, wanted: Any) -> None:
    assert fits(given, wanted)


VALUES: list[tuple[Any, object]] = [
    (int, 3),
    (float, 3.0),
    (bool, True),
    (str, "a"),
    (bytes, b"a"),
    (type(None), None),
    (list, [1]),
    (list[int], [1]),
    (list[str], ["a"]),
    (tuple[int, ...], (1,)),
    (set[int], {1}),
    (frozenset[int], frozenset({1})),
    (dict, {"id": "a"}),
    (dict[str, str], {"id": "a"}),
    (dict[str, int], {"id": 1}),
    (dict[int, str], {1: "a"}),
    (Row, {"id": "a"}),
    (Order, Order(id="a")),
    (Gift, Gift(id="a", card="b")),
    (Parcel, Parcel(1)),
    (Pair, Pair(1, 2)),
    (Colour, Colour.RED),
    (Decimal, Decimal("1.5")),
    (date, date(2020, 1, 1)),
    (datetime, datetime(2020, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("wanted", [type_ for type_, _ in VALUES], ids=str)
def test_nothing_is_refused_that_a_run_would_take(wanted: Any) -> None:
    codec = Codec(wanted)

    for given, value in VALUES:
        with suppress(CodecError):
            codec.hold(value, 1_000, "it")
            assert fits(given, wanted)
