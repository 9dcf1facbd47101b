"""Values as JSON of their declared types, and back; what would come back different is an error."""

import dataclasses
import math
import re
import types
from collections.abc import Callable
from functools import partial
from json.encoder import encode_basestring
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from daemon.errors import CodecError, MisfitError, PayloadTooLargeError
from daemon.workflow.adapters import adapter_of, type_name
from daemon.workflow.difference import ANOTHER_VALUE, difference
from daemon.workflow.faithful import doubted

# Immutable, and JSON gives them back exactly: they need no copy, and under their own type or `Any` no validation.
_PLAIN: dict[type, Callable[[Any], bytes]] = {
    int: lambda value: b"%d" % value,
    str: lambda value: encode_basestring(value).encode(),
    bool: lambda value: b"true" if value else b"false",
    types.NoneType: lambda value: b"null",  # noqa: ARG005 - one signature for all
}


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
        if fresh is _TAKEN:
            return self.codec.decode(self.data)
        self.fresh = _TAKEN
        return fresh


@dataclasses.dataclass(frozen=True, slots=True)
class Json:
    """JSON that was sent, in the place of the value that it stands for: what is declared there says how to read it."""

    data: bytes


_TAKEN = object()
_DIGITS_MAX = 4_300  # what pydantic reads
_TOO_LONG = re.compile(rb"[0-9]{%d}" % _DIGITS_MAX)
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

    __slots__ = ("_decode", "_encode", "_plain", "_proof", "type", "validator")

    def __init__(self, type_: Any) -> None:
        self.type = type_
        serializer, validator, self._proof = adapter_of(type_)
        self.validator = validator
        self._encode = serializer.to_json
        self._decode = validator.validate_json
        if not self._proof:  # stored by name, whatever aliases a model has
            self._decode = partial(self._decode, by_alias=True, by_name=True)
        self._plain = _PLAIN if type_ in (Any, object) else {kind: _PLAIN[kind] for kind in self._unchanging()}

    def _unchanging(self) -> set[type]:
        """Return the plain types whose values come back as what they are: next to `datetime`, a text may not."""
        found = {kind for kind in _PLAIN if self._proof.get(kind, doubted) is None}
        has_none = get_origin(self.type) in (Union, types.UnionType) and types.NoneType in get_args(self.type)
        return found | {types.NoneType} if has_none else found

    def hold(self, value: Any, limit_bytes: int, what: str, of: str = "") -> tuple[bytes, Any]:
        """Return a value's JSON, and the value as it is kept: itself if it is plain, else `Held`.

        Args:
            value: What to keep.
            limit_bytes: The longest JSON that is accepted, in bytes.
            what: Whose value it is, for the error ("the output of step").
            of: The name that is said after that, in quotes ("charge-card"); empty: none.

        Raises:
            CodecError: It cannot be encoded, or would come back different; names the field.
            PayloadTooLargeError: Its JSON is above the limit.
        """
        kind = type(value)
        plain = self._plain.get(kind)
        if plain is not None:
            try:
                data = plain(value)
            except ValueError as error:  # half a surrogate pair, or an int of too many digits
                said = getattr(error, "reason", error)
                raise CodecError(f"{named(what, of)} cannot be stored as JSON: {said}") from None
            if len(data) > limit_bytes:
                raise PayloadTooLargeError(named(what, of), len(data), limit_bytes)
            return data, value
        holds, proven = self._proof.get(kind, doubted), None
        if holds is None or holds(value):  # it comes back as what it is, if it can be read at all
            try:
                proven = self._encode(value)
            except PydanticSerializationError:  # half a surrogate pair
                proven = None
        if proven is None or (len(proven) > _DIGITS_MAX and _TOO_LONG.search(proven)):
            data, fresh = self._round_trip(value, what, of)
        else:
            data, fresh = proven, _TAKEN
        if len(data) > limit_bytes:
            raise PayloadTooLargeError(named(what, of), len(data), limit_bytes)
        return data, Held(data, self, fresh)

    def takes(self, other: "Codec") -> bool:
        """Tell whether a value of the other's type is one of this one's as it is."""
        mine, its = self.type, other.type
        if mine is its or mine is Any or mine is object or self.reads_as(other):
            return True
        return isinstance(mine, type) and isinstance(its, type) and issubclass(its, mine)

    def reads_as(self, other: "Codec") -> bool:
        """Tell whether both read the same JSON as the same value; unions of another order are equal, and do not."""
        return self.validator is other.validator

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
        except Exception as error:  # noqa: BLE001 - the application's own validators raise anything
            raise CodecError(f"Stored JSON no longer fits {type_name(self.type)}: {_said(error)}") from _cause(error)

    def given(self, value: Any, what: str) -> Any:
        """Return a value that somebody gave, or what its JSON stands for.

        Args:
            value: The value, or `Json`.
            what: Whose value it is, for the error.

        Raises:
            MisfitError: The JSON does not fit the type.
        """
        if type(value) is not Json:
            return value
        try:
            return self._decode(value.data)
        except Exception as error:  # noqa: BLE001 - the same
            details = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else ()
            said = f"{what} does not fit {type_name(self.type)}: {_said(error)}."
            raise MisfitError(said, details) from _cause(error)

    def _round_trip(self, value: Any, what: str, of: str) -> tuple[bytes, Any]:
        try:
            # Warnings are costly, and what they would tell of does not come back as what it was.
            data = self._encode(value, by_alias=False, warnings=False)
            fresh = self._decode(data)
            changed = difference(value, fresh)
        except Exception as error:  # noqa: BLE001 - the application's own validators raise anything
            raise self._refusal(value, named(what, of)) from _cause(error)
        if changed is not None:
            raise self._refusal(value, named(what, of))
        return data, fresh

    def _refusal(self, value: Any, what: str) -> CodecError:
        """Say why a value cannot be stored as its declared type, by storing it once more, step by step."""
        mine = type_name(self.type)
        try:
            data = self._encode(value, by_alias=False, warnings="error")
        except Exception as error:  # noqa: BLE001 - the application's own serializers raise anything
            found = _unencodable(value)
            at = f" at {found}" if found else ""
            return CodecError(f"{what} cannot be stored as JSON of {mine}{at}: {_reason(error)}")
        try:
            changed = difference(value, self._decode(data))
        except Exception as error:  # noqa: BLE001 - the same of its validators
            return CodecError(f"{what} would not come back from JSON as {mine}: {_said(error)}")
        where, was, became = changed or ("", "it", "another value")
        at = f" at {where.lstrip('.')}" if where else ""
        return CodecError(f"{what} would come back different{at}: {was} would become {became}. {_hint(became)}")


def named(what: str, of: str) -> str:
    """Return whose value it is, as an error says it; as the arguments of `Codec.hold`."""
    return f"{what} {of!r}" if of else what


def wrong_fields(error: ValidationError) -> str:
    """Return every wrong field of a validation error and what is wrong with it, in one line, without the values."""
    said = [
        f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = len(said) - _FIELDS_MAX
    return "; ".join(said[:_FIELDS_MAX]) + (f"; and {more} more" if more > 0 else "")


def _said(error: Exception) -> str:
    """Return what reading a value's JSON met: every wrong field, or what a validator of the application raised."""
    if isinstance(error, ValidationError):
        return wrong_fields(error)
    return f"a validator raised {type(error).__name__}: {error}"


def _cause(error: Exception) -> Exception | None:
    """Return what an error is raised from: pydantic's own tells no more than the sentence, and shows the value."""
    return None if isinstance(error, (ValidationError, PydanticSerializationError)) else error


def _hint(became: str) -> str:
    if became == ANOTHER_VALUE:
        return (
            "JSON has no form for it, a validator or serializer changes it, or its class has no __eq__: pass on "
            "what it is made from."
        )
    return "Declare its exact type, so that it is stored as what it is."


_UNEXPECTED = re.compile(
    r"Expected `(?P<wanted>[^`]+)`.*?(?:field_name='(?P<field>[^']+)'.*?)?input_type=(?P<found>\w+)"
)


_REPORTED = re.compile(r"Pydantic serializer warnings:\n +\w+\((?P<what>.*)\)")


def _reason(error: Exception) -> str:
    """Return what a serializer's error says, without the value that it quotes."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = [
        f"{hit['field'] + ' is' if hit['field'] else 'is'} {hit['found']} where {hit['wanted']} is declared"
        for hit in _UNEXPECTED.finditer(str(error))
    ]
    return "; ".join(said) or _REPORTED.sub(r"\g<what>", str(error)).partition("\n")[0]


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
            adapter_of(type(item))[0].to_json(item, warnings="error")
        except Exception:  # noqa: BLE001 - whatever it raises, this part is the one to name
            return _unencodable(item, where, depth + 1) or where.lstrip(".")
    return path.lstrip(".") if path else ""


ANY = Codec(Any)
