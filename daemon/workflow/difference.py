"""What became of a value that was stored and read again: nothing may change in type or value unnoticed; pure."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from types import NoneType
from typing import Any

from pydantic import BaseModel

_SCALARS = frozenset({int, str, bool, float, NoneType})
_KEYS_MAX = 10
_KEY_MAX = 40
ANOTHER_VALUE = "another value"

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
        return _dataclass_difference(was, became)
    elif isinstance(was, (set, frozenset)):
        theirs = {item: item for item in became}
        same = was == became and all(difference(item, theirs[item]) is None for item in was)
    elif isinstance(was, (datetime, time)):
        same = _wall(was) == _wall(became)
    else:
        same = bool(was == became)
    return None if same or (was != was and became != became) else ("", f"this {_shown(was)}", ANOTHER_VALUE)  # noqa: PLR0124 - NaN


def _wall(moment: datetime | time) -> tuple[Any, ...]:
    """Return what a clock on the wall shows, and where it hangs: of an hour that comes twice, only the offset tells."""
    offset = moment.utcoffset()
    fold = moment.fold if moment.tzinfo is None else 0
    return moment.replace(tzinfo=None, fold=0), fold, offset, moment.tzinfo is None


def _dataclass_difference(was: Any, became: Any) -> Difference | None:
    names = [field.name for field in dataclasses.fields(was)]
    found = _parts_difference((f".{name}", getattr(was, name), getattr(became, name)) for name in names)
    lost = getattr(was, "__dict__", {}).keys() - getattr(became, "__dict__", {}).keys()
    beside = sorted(name for name in lost if not hasattr(type(was), name))  # and not what cached properties keep
    if found is None and beside:
        return "", f"{_shown(was)} with {', '.join(beside)}", _shown(became)
    return found


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
    if getattr(was, "maxlen", None) != getattr(became, "maxlen", None):
        return "", f"this {_shown(was)}", ANOTHER_VALUE
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
    if extra := _beside(was.__pydantic_extra__, became.__pydantic_extra__):
        return extra
    if private := _beside(was.__pydantic_private__, became.__pydantic_private__):
        path, was_, became_ = private
        return path, f"{was_}, which is private and thus not stored,", became_
    return None


def _beside(was: Mapping[str, Any] | None, became: Mapping[str, Any] | None) -> Difference | None:
    return _mapping_difference(was or {}, became or {}) if was or became else None


def _same_scalars(was: dict[str, Any], became: dict[str, Any]) -> bool:
    """Tell whether two mappings are the same and flat, which most are; False says nothing."""
    kinds = list(map(type, was.values()))
    return _SCALARS.issuperset(kinds) and kinds == list(map(type, became.values())) and was == became


def _shown(value: Any) -> str:
    return type(value).__qualname__
