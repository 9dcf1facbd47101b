"""What became of a value that was stored and read again: nothing may change in type or value unnoticed; pure."""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any

from pydantic import BaseModel

_SCALARS = frozenset({int, str, bool, float, NoneType})
_KEYS_MAX = 10
_KEY_MAX = 40

# Where, what it was, and what it would become.
Difference = tuple[str, str, str]


def difference(was: Any, became: Any, path: str = "") -> Difference | None:
    """Return where and how two values differ in type or value, or None; an int under `float` may become a float.

    It names types and never shows a value, which may be a secret. A moment is the same if its local time and its
    offset are: JSON knows no named zones.
    """
    kind = type(was)
    if kind is not type(became):
        return _type_difference(was, became, path)
    if kind in _SCALARS:
        same = was == became
    elif isinstance(was, dict):
        return _mapping_difference(was, became, path)
    elif isinstance(was, (list, tuple, deque)):
        return _sequence_difference(was, became, path)
    elif isinstance(was, BaseModel) or dataclasses.is_dataclass(was):
        return _object_difference(was, became, path)
    elif isinstance(was, (set, frozenset)):
        same = {(type(item), item) for item in was} == {(type(item), item) for item in became}
    elif isinstance(was, datetime):
        same = was.utcoffset() == became.utcoffset() and _local(was) == _local(became)
    else:
        same = was == became
    return None if same else (path, f"this {_shown(was)}", "another value")


def _local(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def _type_difference(was: Any, became: Any, path: str) -> Difference | None:
    if type(was) is int and type(became) is float and was == became:
        return None
    both_models = isinstance(was, BaseModel) and isinstance(became, BaseModel)
    lost = sorted(was.__dict__.keys() - became.__dict__.keys()) if both_models else []
    return path, _shown(was) + (f" with {', '.join(lost)}" if lost else ""), _shown(became)


def _sequence_difference(was: Sequence[Any], became: Sequence[Any], path: str) -> Difference | None:
    if len(was) != len(became):
        return path, f"{len(was)} items", f"{len(became)} items"
    for index, (left, right) in enumerate(zip(was, became, strict=True)):
        found = difference(left, right, f"{path}[{index}]")
        if found is not None:
            return found
    return None


def _mapping_difference(was: Mapping[Any, Any], became: Mapping[Any, Any], path: str) -> Difference | None:
    if list(map(type, was)) != list(map(type, became)) or was.keys() != became.keys():
        return path, f"the keys {_keys(was)}", _keys(became)
    for key, left in was.items():
        found = difference(left, became[key], f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r}]")
        if found is not None:
            return found
    return None


def _keys(mapping: Mapping[Any, Any]) -> str:
    names = [repr(key)[:_KEY_MAX] for key in mapping][:_KEYS_MAX]
    return f"{', '.join(names)} ({', '.join(sorted({type(key).__name__ for key in mapping}))})"


def _object_difference(was: Any, became: Any, path: str) -> Difference | None:
    if isinstance(was, BaseModel):
        parts = [(_fields(was), _fields(became)), (was.__pydantic_extra__, became.__pydantic_extra__)]
        parts.append((was.__pydantic_private__, became.__pydantic_private__))
        for left, right in parts:
            if (left or right) and (found := _mapping_difference(left or {}, right or {}, path)) is not None:
                return found
        return None
    for field in dataclasses.fields(was):
        found = difference(getattr(was, field.name), getattr(became, field.name), f"{path}.{field.name}")
        if found is not None:
            return found
    return None


def _fields(model: BaseModel) -> dict[str, Any]:
    """Return the fields' values, without what cached properties keep beside them."""
    names = type(model).model_fields
    return {name: value for name, value in model.__dict__.items() if name in names}


def _shown(value: Any) -> str:
    return type(value).__qualname__
