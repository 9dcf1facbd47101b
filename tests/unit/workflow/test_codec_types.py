"""Declared types: which have no JSON form, and how what they read and refuse is said."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import Enum
from socket import socket
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, create_model

from daemon.errors import CodecError, MisfitError
from daemon.workflow.codec import Codec, Json

LIMIT_BYTES = 1_000_000


class Planet(Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.642, 3.39)


def test_unions_of_another_order_are_other_types() -> None:
    text = "2026-01-01T00:00:00Z"

    assert Codec(datetime | str).decode(f'"{text}"'.encode()) == datetime(2026, 1, 1, tzinfo=UTC)
    assert Codec(str | datetime).decode(f'"{text}"'.encode()) == text


def test_a_value_of_a_union_of_another_order_is_not_taken_as_it_is() -> None:
    mine, its = Codec(datetime | str), Codec(str | datetime)

    assert mine.type == its.type
    assert not mine.takes(its)
    assert mine.takes(Codec(datetime | str))


def refused(value: int) -> int:
    raise KeyError(value)


class Picky(BaseModel):
    id: Annotated[int, AfterValidator(refused)]


def test_whatever_a_validator_raises_it_is_an_error_of_the_value() -> None:
    codec = Codec(Picky)

    with pytest.raises(CodecError, match=r"the value would not come back from JSON as Picky: .* raised KeyError: 7"):
        codec.hold(Picky.model_construct(id=7), LIMIT_BYTES, "the value")
    with pytest.raises(CodecError, match=r"no longer fits Picky: a validator raised KeyError: 7"):
        codec.decode(b'{"id":7}')
    with pytest.raises(MisfitError, match=r"the input does not fit Picky: a validator raised KeyError: 7\."):
        codec.given(Json(b'{"id":7}'), "the input")


def test_a_member_of_an_enum_of_tuples_is_asked_for_by_its_name() -> None:
    codec = Codec(list[Planet])

    with pytest.raises(MisfitError, match=r"the input does not fit .*: 0: Input should be 'EARTH' or 'MARS'\."):
        codec.given(Json(b'["VENUS"]'), "the input")
    with pytest.raises(CodecError, match="is str where Planet is declared"):
        codec.hold(["EARTH"], LIMIT_BYTES, "the value")


ahead: Any = {"parts": ("list[Behind]", ...)}
Unfinished = create_model("Unfinished", **ahead)
UNFIT: dict[str, tuple[Any, str]] = {
    "iterator": (Iterable[int], "it is read once and then gone. Declare list[...] for it."),
    "class": (type[int], "a class is no data. Use a pydantic model"),
    "function": (Callable[[], int], "a function is no data. Use a pydantic model"),
    "unfinished model": (Unfinished, "'Behind', which it names, is not defined yet. Define that above what uses it"),
    "client": (socket, "Use a pydantic model, a dataclass or plain data, and get live objects from the container"),
}


@pytest.mark.parametrize(("type_", "sentence"), UNFIT.values(), ids=UNFIT)
def test_a_type_that_is_no_data_is_refused_when_it_is_declared(type_: Any, sentence: str) -> None:
    with pytest.raises(CodecError) as unfit:
        Codec(type_)

    assert sentence in str(unfit.value)
    assert "arbitrary_types_allowed" not in str(unfit.value)
