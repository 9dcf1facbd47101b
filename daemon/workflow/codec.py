"""Values as JSON of their declared types, and back; what would come back different is an error."""

import dataclasses
import json
import math
import re
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from daemon.errors import CodecError, PayloadTooLargeError

# Immutable, and JSON gives them back exactly: they need no copy, and under their own type or `Any` no validation.
_PLAIN: dict[type, Callable[[Any], bytes]] = {
    int: lambda value: b"%d" % value,
    str: lambda value: json.dumps(value, ensure_ascii=False).encode(),
    bool: lambda value: b"true" if value else b"false",
    types.NoneType: lambda value: b"null",  # noqa: ARG005 - one signature for all
}
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Held:
    """A value at rest: its JSON, decoded anew for everybody who uses it, so that nobody's change reaches another."""

    __slots__ = ("codec", "data", "fresh")

    def __init__(self, data: bytes, codec: "Codec", fresh: Any) -> None:
        self.data = data
        self.codec = codec
        self.fresh = fresh

    def take(self) -> Any:
        """Return a copy that is the caller's own."""
        fresh = self.fresh
        if fresh is not _TAKEN:
            self.fresh = _TAKEN
            return fresh
        return self.codec.decode(self.data)


_TAKEN = object()
_DEPTH_MAX = 20
_FIELDS_MAX = 20


def taken(value: Any) -> Any:
    """Return a stored value as its user's own copy; plain values are their own."""
    return value.take() if type(value) is Held else value


class Codec:
    """Encodes and decodes values of one declared type.

    Args:
        type_: The declared type; `Any` takes what is JSON already.
    """

    __slots__ = ("_decode", "_encode", "_plain", "type")

    def __init__(self, type_: Any) -> None:
        self.type = type_
        adapter = _adapter(type_)
        self._encode = adapter.serializer.to_json
        self._decode = adapter.validator.validate_json
        options = get_args(type_) if get_origin(type_) in (Union, types.UnionType) else (type_,)
        self._plain = _PLAIN if type_ in (Any, object) else {kind: _PLAIN[kind] for kind in options if kind in _PLAIN}
        if type_ is None:
            self._plain = {types.NoneType: _PLAIN[types.NoneType]}

    def hold(self, value: Any, limit_bytes: int, what: str) -> tuple[bytes, Any]:
        """Return a value's JSON, and the value as it is kept: itself if it is plain, else `Held`.

        Args:
            value: What to keep.
            limit_bytes: The longest JSON that is accepted, in bytes.
            what: Whose value it is, for the error ("the output of step 'charge-card'").

        Raises:
            CodecError: It cannot be encoded, or would come back different; names the field.
            PayloadTooLargeError: Its JSON is above the limit.
        """
        plain = self._plain.get(type(value))
        if plain is not None:
            try:
                data = plain(value)
            except ValueError as error:  # half a surrogate pair, or an int of too many digits
                raise CodecError(f"{what} cannot be stored as JSON: {getattr(error, 'reason', error)}") from None
            if len(data) > limit_bytes:
                raise PayloadTooLargeError(what, len(data), limit_bytes)
            return data, value
        data, fresh = self._round_trip(value, what)
        if len(data) > limit_bytes:
            raise PayloadTooLargeError(what, len(data), limit_bytes)
        return data, Held(data, self, fresh)

    def takes(self, other: "Codec") -> bool:
        """Tell whether a value of the other's type is one of this one's as it is."""
        mine, its = self.type, other.type
        if mine is its or mine is Any or mine is object or mine == its:
            return True
        return isinstance(mine, type) and isinstance(its, type) and issubclass(its, mine)

    def restore(self, data: bytes) -> Any:
        """Return stored JSON as a value at rest."""
        value = self.decode(data)
        return value if type(value) in _PLAIN else Held(data, self, value)

    def decode(self, data: bytes) -> Any:
        """Return the value that stored JSON stands for.

        Raises:
            CodecError: The type has changed since, and the JSON no longer fits it; names every field.
        """
        try:
            return self._decode(data)
        except ValidationError as error:
            raise CodecError(f"Stored JSON no longer fits {type_name(self.type)}: {wrong_fields(error)}") from None

    def _round_trip(self, value: Any, what: str) -> tuple[bytes, Any]:
        try:
            data = self._encode(value, warnings="error")
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
            found = _unencodable(value)
            at = f" at {found}" if found else ""
            raise CodecError(
                f"{what} cannot be stored as JSON of {type_name(self.type)}{at}: {_reason(error)}"
            ) from None
        try:
            fresh = self._decode(data)
        except ValidationError as error:
            raise CodecError(
                f"{what} would not come back from JSON as {type_name(self.type)}: {wrong_fields(error)}"
            ) from None
        changed = difference(value, fresh)
        if changed is not None:
            where, was, became = changed
            at = f" at {where.lstrip('.')}" if where else ""
            raise CodecError(
                f"{what} would come back different{at}: {was} would become {became}. Declare its exact type, so that "
                "it is stored as what it is."
            )
        return data, fresh


@lru_cache(maxsize=4096)
def _cached_adapter(type_: Any) -> TypeAdapter[Any]:
    return _build_adapter(type_)


def _adapter(type_: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(type_)
    except TypeError:  # unhashable annotation
        return _build_adapter(type_)


def _build_adapter(type_: Any) -> TypeAdapter[Any]:
    try:
        try:
            return TypeAdapter(type_, config=_CONFIG)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(type_)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise CodecError(
            f"{type_name(type_)} has no JSON form: {str(error).partition(chr(10))[0]} Use a pydantic model, a "
            "dataclass or plain data, and get live objects from the container instead."
        ) from None


def type_name(type_: Any) -> str:
    """Return a type as it is written in code."""
    return type_.__qualname__ if isinstance(type_, type) and not get_args(type_) else str(type_).replace("typing.", "")


def wrong_fields(error: ValidationError) -> str:
    """Return every wrong field of a validation error and what is wrong with it, in one line, without the values."""
    said = [
        f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = len(said) - _FIELDS_MAX
    return "; ".join(said[:_FIELDS_MAX]) + (f"; and {more} more" if more > 0 else "")


def difference(was: Any, became: Any, path: str = "") -> tuple[str, str, str] | None:
    """Return where and how two values differ in type or value, or None; an int under `float` may become a float."""
    kind = type(was)
    if kind is not type(became):
        return _type_difference(was, became, path)
    if kind is dict:
        return _dict_difference(was, became, path)
    if kind is list or kind is tuple:
        return _sequence_difference(was, became, path)
    if kind not in _PLAIN and (isinstance(was, BaseModel) or dataclasses.is_dataclass(was)):
        return _object_difference(was, became, path)
    return None if was == became else (path, f"this {_shown(was)}", "another value")


def _type_difference(was: Any, became: Any, path: str) -> tuple[str, str, str] | None:
    if type(was) is int and type(became) is float and was == became:
        return None
    both_models = isinstance(was, BaseModel) and isinstance(became, BaseModel)
    lost = sorted(was.__dict__.keys() - became.__dict__.keys()) if both_models else []
    return path, _shown(was) + (f" with {', '.join(lost)}" if lost else ""), _shown(became)


def _sequence_difference(was: Any, became: Any, path: str) -> tuple[str, str, str] | None:
    if len(was) != len(became):
        return path, f"{len(was)} items", f"{len(became)} items"
    for index, (left, right) in enumerate(zip(was, became, strict=True)):
        found = difference(left, right, f"{path}[{index}]")
        if found is not None:
            return found
    return None


def _dict_difference(was: dict[Any, Any], became: dict[Any, Any], path: str) -> tuple[str, str, str] | None:
    if list(map(type, was)) != list(map(type, became)) or was.keys() != became.keys():
        return path, f"the keys {_keys(was)}", _keys(became)
    for key, left in was.items():
        found = difference(left, became[key], f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r}]")
        if found is not None:
            return found
    return None


def _keys(mapping: dict[Any, Any]) -> str:
    names = [repr(key)[:40] for key in mapping][:10]
    return f"{', '.join(names)} ({', '.join(sorted({type(key).__name__ for key in mapping}))})"


def _object_difference(was: Any, became: Any, path: str) -> tuple[str, str, str] | None:
    if isinstance(was, BaseModel):
        parts = [(was.__dict__, became.__dict__), (was.__pydantic_extra__, became.__pydantic_extra__)]
        parts.append((was.__pydantic_private__, became.__pydantic_private__))
        for left, right in parts:
            if (left or right) and (found := _dict_difference(left or {}, right or {}, path)) is not None:
                return found
        return None
    for field in dataclasses.fields(was):
        found = difference(getattr(was, field.name), getattr(became, field.name), f"{path}.{field.name}")
        if found is not None:
            return found
    return None


_UNEXPECTED = re.compile(
    r"Expected `(?P<wanted>[^`]+)`.*?(?:field_name='(?P<field>[^']+)'.*?)?input_type=(?P<found>\w+)"
)


def _reason(error: Exception) -> str:
    """Return what a serializer's error says, without the value that it quotes."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = [
        f"{hit['field'] + ' is' if hit['field'] else 'is'} {hit['found']} where {hit['wanted']} is declared"
        for hit in _UNEXPECTED.finditer(str(error))
    ]
    return "; ".join(said) or str(error).partition("\n")[0]


def _shown(value: Any) -> str:
    return type(value).__qualname__  # the type alone: a value may be a secret


def _unencodable(value: Any, path: str = "", depth: int = 0) -> str:
    """Return the path of the first part of a value that has no JSON form, or an empty string if it is the whole."""
    if depth > _DEPTH_MAX:
        return path.lstrip(".")
    items: list[tuple[str, Any]] = []
    if isinstance(value, BaseModel):
        items = [(f"{path}.{key}", item) for key, item in value.__dict__.items()]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(f"{path}.{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        items = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    for where, item in items:
        if type(item) in _PLAIN or (type(item) is float and math.isfinite(item)):
            continue
        try:
            _adapter(type(item)).serializer.to_json(item, warnings="error")
        except Exception:  # noqa: BLE001 - whatever it raises, this part is the one to name
            return _unencodable(item, where, depth + 1) or where.lstrip(".")
    return path.lstrip(".") if path else ""


ANY = Codec(Any)
