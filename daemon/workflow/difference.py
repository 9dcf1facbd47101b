"""What became of a value that was stored and read again: nothing may change in type or value unnoticed; pure."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any

from pydantic import BaseModel

_SCALARS = frozenset({int, str, bool, float, NoneType})
_KEYS_MAX = 10
_KEY_MAX = 40

# Where, what it was, and what it would become.
Difference = tuple[str, str, str]


def difference(was: Any, became: Any) -> Difference | None:
    """Return where and how two values differ in type or value, or None; an int under `float` may become a float.

    It names types and never shows a value, which may be a secret. A moment is the same if its local time and its
    offset are: JSON knows no named zones.
    """
    kind = type(was)
    if kind is not type(became):
        return _type_difference(was, became)
    if kind in _SCALARS:
        same = was == became
    elif isinstance(was, dict):
        return _mapping_difference(was, became)
    elif isinstance(was, (list, tuple, deque)):
        return _sequence_difference(was, became)
    elif isinstance(was, BaseModel):
        return _model_difference(was, became)
    elif dataclasses.is_dataclass(was):
        names = [field.name for field in dataclasses.fields(was)]
        return _parts_difference((f".{name}", getattr(was, name), getattr(became, name)) for name in names)
    elif isinstance(was, (set, frozenset)):
        same = {(type(item), item) for item in was} == {(type(item), item) for item in became}
    elif isinstance(was, datetime):
        same = was.utcoffset() == became.utcoffset() and _local(was) == _local(became)
    else:
        same = was == became
    return None if same else ("", f"this {_shown(was)}", "another value")


def _local(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def _type_difference(was: Any, became: Any) -> Difference | None:
    if type(was) is int and type(became) is float and was == became:
        return None
    both_models = isinstance(was, BaseModel) and isinstance(became, BaseModel)
    lost = sorted(was.__dict__.keys() - became.__dict__.keys()) if both_models else []
    return "", _shown(was) + (f" with {', '.join(lost)}" if lost else ""), _shown(became)


def _parts_difference(parts: Iterable[tuple[str, Any, Any]]) -> Difference | None:
    """Return the first difference of parts, each with its place in the whole."""
    for place, left, right in parts:
        if (found := difference(left, right)) is not None:
            path, was, became = found
            return place + path, was, became
    return None


def _sequence_difference(was: Sequence[Any], became: Sequence[Any]) -> Difference | None:
    if len(was) != len(became):
        return "", f"{len(was)} items", f"{len(became)} items"
    pairs = enumerate(zip(was, became, strict=True))
    return _parts_difference((f"[{index}]", left, right) for index, (left, right) in pairs if left is not right)


def _mapping_difference(was: Mapping[Any, Any], became: Mapping[Any, Any]) -> Difference | None:
    if list(map(type, was)) != list(map(type, became)) or was.keys() != became.keys():
        return "", f"the keys {_keys(was)}", _keys(became)
    for key, left in was.items():
        right = became[key]
        if type(left) is type(right) and type(left) in _SCALARS and left == right:
            continue  # what most values are, without a call
        if (found := difference(left, right)) is not None:
            path, was_, became_ = found
            return (f".{key}" if isinstance(key, str) else f"[{key!r}]") + path, was_, became_
    return None


def _keys(mapping: Mapping[Any, Any]) -> str:
    names = [repr(key)[:_KEY_MAX] for key in mapping][:_KEYS_MAX]
    return f"{', '.join(names)} ({', '.join(sorted({type(key).__name__ for key in mapping}))})"


def _model_difference(was: BaseModel, became: BaseModel) -> Difference | None:
    if _same_scalars(was.__dict__, became.__dict__):
        names: Iterable[str] = ()
    else:
        names = type(was).__pydantic_fields__  # and not what cached properties keep beside them
    for name in names:
        left, right = was.__dict__.get(name), became.__dict__.get(name)
        if type(left) is type(right) and type(left) in _SCALARS and left == right:
            continue
        if (found := difference(left, right)) is not None:
            path, was_, became_ = found
            return f".{name}{path}", was_, became_
    if not (was.__pydantic_extra__ or was.__pydantic_private__ or became.__pydantic_private__):
        return None
    extra = _mapping_difference(was.__pydantic_extra__ or {}, became.__pydantic_extra__ or {})
    return extra or _mapping_difference(was.__pydantic_private__ or {}, became.__pydantic_private__ or {})


def _same_scalars(was: dict[str, Any], became: dict[str, Any]) -> bool:
    """Tell whether two mappings are the same and flat, which most are; False says nothing."""
    kinds = list(map(type, was.values()))
    return _SCALARS.issuperset(kinds) and kinds == list(map(type, became.values())) and was == became


def _shown(value: Any) -> str:
    return type(value).__qualname__
