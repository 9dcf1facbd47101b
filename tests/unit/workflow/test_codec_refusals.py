"""Values that would not come back as they were, and types without a JSON form."""

import dataclasses
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from daemon.errors import CodecError
from daemon.workflow.codec import Codec
from tests.unit.workflow.coded import LIMIT, LINE, MOMENT, ORDER, SECRET, Kind, Line, Order, Socket, round_trip


class Gift(Line):
    wrapped: bool


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
