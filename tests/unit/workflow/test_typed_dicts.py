"""Typed dicts of `typing` are stored as those of `typing_extensions`, on every Python version."""

from datetime import date
from typing import Annotated, Any, NotRequired, Required, TypedDict

import pytest

from daemon import CodecError, Ref, step, workflow
from daemon.workflow.codec import Codec

LIMIT_BYTES = 10_000


class Named(TypedDict):
    name: str
    born: NotRequired[date]


class Tagged(Named, total=False):
    tags: set[str]
    raw: Required[bytes]


class Held(TypedDict):
    one: Tagged
    many: "list[Tagged] | None"
    noted: Annotated[Named, "a note"]


TAGGED: Tagged = {"name": "Ada", "born": date(1815, 12, 10), "tags": {"x"}, "raw": b"\xff"}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Named, {"name": "Ada"}),
        (Tagged, TAGGED),
        (list[Tagged], [TAGGED]),
        (Tagged | None, None),
        (dict[str, tuple[Named, ...]], {"a": ({"name": "Ada"},)}),
        (Held, {"one": TAGGED, "many": [TAGGED], "noted": {"name": "Ada"}}),
    ],
    ids=str,
)
def test_a_typed_dict_comes_back_as_what_it_was(type_: Any, value: Any) -> None:
    codec = Codec(type_)

    data, _ = codec.hold(value, LIMIT_BYTES, "it")

    assert codec.decode(data) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "Ada"}, "raw: Field required"),
        ({"name": 1, "raw": b""}, "name is int where str is declared"),
        ({"name": "Ada", "raw": b"", "more": 1}, "'more'"),
    ],
)
def test_a_typed_dict_that_is_none_is_refused_with_its_field(value: Any, said: str) -> None:
    with pytest.raises(CodecError, match=said):
        Codec(Tagged).hold(value, LIMIT_BYTES, "it")


async def test_a_typed_dict_goes_through_a_run() -> None:
    @step("tag")
    async def tag(named: Named) -> Tagged:
        return {"name": named["name"], "tags": {"new"}, "raw": b""}

    @workflow("tagging")
    def tagging(named: Ref[Named]) -> Ref[Tagged]:
        return tag(named)

    run = await tagging().run({"name": "Ada"})

    assert run.result == {"name": "Ada", "tags": {"new"}, "raw": b""}
