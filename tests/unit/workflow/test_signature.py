"""What is read from a function's signature, and how places in the code are named."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Generic, Optional, TypeVar, Union

import pytest
from pydantic import BaseModel

from daemon import DefinitionError
from daemon.workflow.operand import type_at
from daemon.workflow.signature import accepts_none, check_identity, relative, where_called, where_defined

T = TypeVar("T")


class Line(BaseModel):
    sku: str


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclass
class Address:
    city: str

    @property
    def street(self) -> str:
        return self.city


class Order(BaseModel):
    lines: list[Line]
    by_day: dict[str, Sequence[Line]]
    pair: tuple[int, Line]
    many: tuple[int, ...]
    note: str | None = None
    page: Page[date]
    address: Address


def named() -> None: ...


@functools.wraps(named)
def wrapper() -> None: ...


def test_a_definition_is_named_by_file_and_line() -> None:
    expected = f"tests/unit/workflow/test_signature.py:{named.__code__.co_firstlineno}"

    assert where_defined(named) == expected
    assert where_defined(wrapper) == expected
    assert where_defined(len) == "builtins"


def test_a_call_is_named_by_the_innermost_place_outside_the_language() -> None:
    def call() -> str:
        return where_called()

    assert call() == f"tests/unit/workflow/test_signature.py:{call.__code__.co_firstlineno + 1}"


def test_a_file_is_named_as_seen_from_here_or_by_its_last_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert relative(str(tmp_path / "workflows" / "place_order.py")) == "workflows/place_order.py"
    assert relative("/elsewhere/application/workflows/place_order.py") == "workflows/place_order.py"


@pytest.mark.parametrize("name", ["a", "place-order", "order-2-b", "7", "a" * 100])
def test_a_kebab_case_name_is_an_identity(name: str) -> None:
    assert check_identity("step", name) == name


@pytest.mark.parametrize("name", ["", "A", "a--b", "-a", "a-", "a_b", "a b", "a.b", "ä", "a\n", "a" * 101, 1, None])
def test_any_other_name_is_not(name: Any) -> None:
    with pytest.raises(DefinitionError, match="name"):
        check_identity("step", name)


@pytest.mark.parametrize(
    ("type_", "accepts"),
    [
        (Any, True),
        (object, True),
        (None, True),
        (type(None), True),
        (str | None, True),
        (Optional[str], True),  # noqa: UP045 - as users write it, too
        (Union[int, str, None], True),  # noqa: UP007 - the same
        (int | Any, True),
        (str, False),
        (int | str, False),
        (list[None], False),
        (Order, False),
    ],
)
def test_a_type_accepts_none_if_it_says_so_or_says_nothing(type_: Any, accepts: bool) -> None:  # noqa: FBT001 - a case
    assert accepts_none(type_) is accepts


@pytest.mark.parametrize(
    ("pick", "expected"),
    [
        ((), Order),
        (((".", "lines"),), list[Line]),
        (((".", "lines"), ("[", 0)), Line),
        (((".", "lines"), ("[", -1), (".", "sku")), str),
        (((".", "by_day"), ("[", "mon"), ("[", 0)), Line),
        (((".", "pair"), ("[", 1)), Line),
        (((".", "pair"), ("[", -2)), int),
        (((".", "pair"), ("[", 2)), Any),
        (((".", "many"), ("[", 3)), int),
        (((".", "note"),), str | None),
        (((".", "page"), (".", "items"), ("[", 0)), date),
        (((".", "address"), (".", "city")), str),
        (((".", "address"), (".", "street")), Any),
        (((".", "note"), (".", "upper")), Any),
        (((".", "missing"), (".", "deeper")), Any),
    ],
    ids=str,
)
def test_the_type_at_the_end_of_a_pick_is_the_declared_one(pick: Any, expected: Any) -> None:
    assert type_at(Order, pick) == expected


def test_a_function_is_what_a_callable_is_not() -> None:
    anything: Callable[..., Any] = functools.partial(named)

    assert where_defined(anything) == "functools"
