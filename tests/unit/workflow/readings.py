"""What a codec makes of a value, beside what it makes of it when it reads every value again."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from pydantic import BaseModel

from daemon.errors import CodecError, PayloadTooLargeError
from daemon.workflow.adapters import adapter_of
from daemon.workflow.codec import Codec, taken
from daemon.workflow.difference import difference
from daemon.workflow.faithful import doubted

LIMIT_BYTES = 1_000_000


class Reading(Codec):
    """Reads every value again, as what is not known to come back unchanged is."""

    __slots__ = ()

    def __init__(self, type_: Any) -> None:
        super().__init__(type_)
        self._proof = {}
        self._decode = partial(adapter_of(type_).validator.validate_json, by_alias=True, by_name=True)


def outcome_of(codec: Codec, value: Any, limit_bytes: int = LIMIT_BYTES) -> tuple[bytes, Any] | str:
    """Return what a codec makes of a value: its JSON and a copy, or why it refuses it."""
    try:
        data, held = codec.hold(value, limit_bytes, "the value")
    except (CodecError, PayloadTooLargeError) as refused:
        return f"{type(refused).__name__}: {refused}"
    return data, taken(held)


def models_in(value: Any) -> Iterator[BaseModel]:
    """Iterate over the models that a value is made of."""
    parts: Any = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if isinstance(value, BaseModel):
        yield value
        parts = value.__dict__.values()
    for part in parts:
        yield from models_in(part)


def assert_same(type_: Any, value: Any, limit_bytes: int = LIMIT_BYTES) -> None:
    """Assert that a value is held as it is if it is read again."""
    fast, slow = outcome_of(Codec(type_), value, limit_bytes), outcome_of(Reading(type_), value, limit_bytes)

    if isinstance(slow, str) or isinstance(fast, str):
        assert fast == slow
        return
    assert fast[0] == slow[0]
    assert difference(fast[1], slow[1]) is None
    for mine, its, given_ in zip(models_in(fast[1]), models_in(slow[1]), models_in(value), strict=True):
        assert mine is not given_
        assert mine.__dict__ is not given_.__dict__
        assert list(mine.__dict__) == list(its.__dict__)
        assert mine.model_fields_set == its.model_fields_set


def is_proven(type_: Any, value: Any) -> bool:
    """Tell whether it is known of a value that it comes back unchanged."""
    holds = adapter_of(type_).proof.get(type(value), doubted)
    return holds is None or holds(value)
