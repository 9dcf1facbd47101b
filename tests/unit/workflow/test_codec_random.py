"""Whatever a type and a value are: the outcome is the same whether it is known beforehand or found out by reading."""

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, Optional, get_args, get_origin
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, create_model

from daemon.errors import CodecError
from daemon.workflow.codec import ANY, Codec, taken
from daemon.workflow.difference import difference
from tests.unit.workflow.kinds import Kind, Line, Number, Right, Size, Text
from tests.unit.workflow.readings import LIMIT_BYTES, assert_same


class Planet(Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.642, 3.39)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers() | st.just(10**4200),
    str: st.text() | st.sampled_from(["\ud800", "2026-01-02", "2026-01-02T03:04:05Z", "1", "a", str(UUID(int=1))]),
    bool: st.booleans(),
    NoneType: st.none(),
    float: st.floats(),
    Decimal: st.decimals(allow_nan=None),
    UUID: st.uuids(),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.none() | st.timezones() | st.just(timezone(timedelta(seconds=90)))),
    bytes: st.binary(max_size=4),
    timedelta: st.timedeltas(),
    Colour: st.sampled_from(Colour),
    Planet: st.sampled_from(Planet),
    Size: st.sampled_from(Size),
    Kind: st.sampled_from(Kind),
    Right: st.sampled_from([Right.READ, Right.READ | Right.WRITE]),
    Literal["a", "b"]: st.sampled_from(["a", "b", "c"]),
    Literal[1]: st.sampled_from([1, True]),
    set[tuple[Any, ...]]: st.sets(
        st.tuples(st.integers() | st.sampled_from([Kind.A, Size.SMALL, "a", 1.5])), max_size=3
    ),
    Literal[1, "1"]: st.sampled_from([1, "1"]),
    Annotated[int, Field(gt=0)]: st.integers(),
    Annotated[str, Field(max_length=2)]: st.text(max_size=3),
    Annotated[int, AfterValidator(abs)]: st.integers(),
    Any: st.integers() | st.text() | st.dates(),
}
STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [1, True, "1", "a", 1.0, math.inf, None, Text("a"), Number(1), Kind.A, Size.SMALL, [], {}]
)


def collected(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types made of the types that are given."""
    names = st.sampled_from(["id", "name", "count", "for"])
    return st.one_of(
        inner.map(lambda of: list[of]),  # type: ignore[valid-type]
        inner.map(lambda of: dict[str, of]),  # type: ignore[valid-type]
        inner.map(lambda of: Optional[of]),  # noqa: UP045 - what takes any type
        inner.map(lambda of: tuple[of, ...]),  # type: ignore[valid-type]
        st.dictionaries(names, inner, min_size=1, max_size=3).map(model_of),
        st.dictionaries(names, inner, min_size=1, max_size=2).map(lambda fields: model_of(fields, base=Line)),
    )


def model_of(fields: dict[str, Any], base: type[BaseModel] = BaseModel) -> type[BaseModel]:
    """Return a model with these fields."""
    wanted: Any = {name: (of, ...) for name, of in fields.items()}
    return create_model("Made", __base__=base, **wanted)


UNIONS = st.sampled_from(
    [
        *(int | str, int | float, bool | int, str | None, int | float | bool | None, Literal[1] | bool),
        *(date | str, str | date, datetime | str, str | datetime, UUID | str, Decimal | str, Kind | str, str | Kind),
        *(bytes | str, Planet | str, timedelta | int, float | None),
    ]
)
TYPES = st.recursive(st.sampled_from(list(SCALARS)) | UNIONS, collected, max_leaves=4)


@st.composite
def values_of(draw: st.DrawFn, of: Any) -> Any:
    """Draw a value of a type, some of whose parts may be of another one."""
    if draw(st.integers(0, 15)) == 0:
        return draw(STRANGE)
    if isinstance(of, type) and issubclass(of, BaseModel):
        fields = {name: draw(values_of(field.annotation)) for name, field in of.model_fields.items()}
        return of.model_construct(**fields)
    if of in SCALARS:
        return draw(SCALARS[of])
    origin, arguments = get_origin(of), list(get_args(of))
    if origin is dict:
        return draw(st.dictionaries(st.text(max_size=3) | st.just("\ud800"), values_of(arguments[1]), max_size=3))
    if origin in (list, tuple):
        return origin(draw(st.lists(values_of(arguments[0]), max_size=3)))
    return draw(values_of(draw(st.sampled_from(arguments))))


def parts_of(value: Any) -> Any:
    """Return what a value is, down to the exact types: two values are the same if this is equal."""
    kind = type(value)
    if isinstance(value, BaseModel):
        return kind, parts_of(value.__dict__)
    if isinstance(value, dict):
        return kind, [(parts_of(key), parts_of(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return kind, [parts_of(each) for each in value]
    if isinstance(value, set):
        return kind, sorted(repr(parts_of(each)) for each in value)
    if isinstance(value, datetime):
        return kind, value.isoformat(), value.tzinfo is None and value.fold
    return kind, repr(value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_another_process_reads_is_what_was_held(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    value = data.draw(values_of(type_))

    try:
        stored, held = Codec(type_).hold(value, LIMIT_BYTES, "the value")
    except CodecError:
        return

    assert parts_of(taken(Codec(type_).restore(stored))) == parts_of(taken(held))
    assert difference(value, taken(held)) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_type_and_the_value_the_outcome_is_that_of_reading_it_again(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    value = data.draw(values_of(type_))

    assert_same(type_, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def alike(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are the same, types of numbers included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(alike, left, right))
    return bool(left == right)


@given(JSON)
def test_any_json_comes_back_under_any(value: Any) -> None:
    data, held = ANY.hold(value, LIMIT_BYTES, "the value")

    assert alike(taken(held), value)
    assert alike(ANY.decode(data), value)
