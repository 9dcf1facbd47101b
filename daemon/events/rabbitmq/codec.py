"""AMQP's basic properties as bytes: taken apart and put together again without losing or changing anything.

A client library decodes properties to Python values and encodes them back on the way out. That loses what has no
equal (a double becomes a single, bytes become an error), and fails on what no publisher should send but some do: a text
that is not UTF-8, a timestamp in the year 50,000. A message that we pass on is somebody else's, so it stays as it was.

The layout: two bytes of flags, then the properties whose flag is set, in the order of `_FIELDS`. A table is its length
in four bytes, then entries of a short string (its length in one byte, then itself) and a typed value: a letter, then
the value. See https://www.rabbitmq.com/amqp-0-9-1-errata for the letters.
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Plain = str | float | bool

SHORT_MAX = 255
_DEPTH_MAX = 8

# Name, bit of the flags, and size in bytes; 0 is a short string, -1 a table.
_FIELDS = (
    ("content_type", 15, 0),
    ("content_encoding", 14, 0),
    ("headers", 13, -1),
    ("delivery_mode", 12, 1),
    ("priority", 11, 1),
    ("correlation_id", 10, 0),
    ("reply_to", 9, 0),
    ("expiration", 8, 0),
    ("message_id", 7, 0),
    ("timestamp", 6, 8),
    ("type", 5, 0),
    ("user_id", 4, 0),
    ("app_id", 3, 0),
    ("cluster_id", 2, 0),
)

_FORMATS = {
    ord("b"): "b",
    ord("B"): "B",
    ord("s"): "h",
    ord("u"): "H",
    ord("I"): "i",
    ord("i"): "I",
    ord("l"): "q",
    ord("L"): "q",
    ord("f"): "f",
    ord("d"): "d",
    ord("T"): "Q",
    ord("t"): "?",
}
_NUMBERS = {kind: struct.Struct(">" + code) for kind, code in _FORMATS.items()}
_SIZES = {kind: number.size for kind, number in _NUMBERS.items()} | {ord("D"): 5, ord("V"): 0}
_SIZED = frozenset(b"SxAF")


class MalformedError(ValueError):
    """These bytes are no AMQP properties."""


@dataclass(slots=True)
class Properties:
    """A message's properties, each as the bytes of its value.

    Attributes:
        fields: By name, without the length that a short string begins with; `headers` are not among them.
        headers: By name, each a letter for its type and its value.
    """

    fields: dict[str, bytes] = field(default_factory=dict)
    headers: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> "Properties":
        """Take properties apart.

        Raises:
            MalformedError: They end too early, or hold a type that nobody knows.
        """
        properties = cls()
        try:
            flags = int.from_bytes(raw[:2])
            at = 2
            for name, bit, size in _FIELDS:
                if not flags >> bit & 1:
                    continue
                if size < 0:
                    end = at + 4 + int.from_bytes(raw[at : at + 4])
                    properties.headers = dict(_entries(raw, at + 4, end))
                else:
                    start = at if size else at + 1
                    end = start + (size or raw[at])
                    properties.fields[name] = raw[start:end]
                at = end
        except IndexError:
            raise MalformedError("the properties end too early") from None
        if at > len(raw):
            raise MalformedError("the properties end too early")
        return properties

    def marshal(self) -> bytes:
        """Return the bytes that `parse` takes."""
        flags = 0
        parts = []
        for name, bit, size in _FIELDS:
            if size < 0:
                if self.headers:
                    table = b"".join([bytes((len(key),)) + key + value for key, value in self.headers.items()])
                    flags |= 1 << bit
                    parts.append(len(table).to_bytes(4) + table)
            elif name in self.fields:
                value = self.fields[name]
                flags |= 1 << bit
                parts.append(value if size else bytes((len(value),)) + value)
        return flags.to_bytes(2) + b"".join(parts)

    def text(self, name: str) -> str | None:
        """Return a property that is a short string; None if it is not there.

        Raises:
            MalformedError: It is not UTF-8.
        """
        value = self.fields.get(name)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise MalformedError(f"the property {name} is not UTF-8") from None

    def set_text(self, name: str, value: str) -> None:
        """Set a property that is a short string, unless it is empty or does not fit into 255 bytes."""
        encoded = value.encode()
        if 0 < len(encoded) <= SHORT_MAX:
            self.fields[name] = encoded

    def set_header(self, name: str, value: Plain) -> None:
        """Set a header to a plain value."""
        self.headers[name.encode()] = typed(value)

    def header(self, name: str) -> Any:
        """Return a header's value as Python has it; None if it is not there, or cannot be had."""
        raw = self.headers.get(name.encode())
        return None if raw is None else untyped(raw)


def typed(value: Plain) -> bytes:
    """Return a plain value as a letter and bytes. Whole numbers beyond 64 bits become texts."""
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return b"l" + value.to_bytes(8, signed=True)
    if isinstance(value, float):
        return b"d" + _NUMBERS[ord("d")].pack(value)
    encoded = str(value).encode()
    return b"S" + len(encoded).to_bytes(4) + encoded


def untyped(raw: bytes, depth: int = _DEPTH_MAX) -> Any:
    """Return a typed value as Python has it; None for what has no plain value (bytes, decimals, deep nesting)."""
    kind = raw[0]
    if kind == ord("S"):
        try:
            return raw[5:].decode()
        except UnicodeDecodeError:
            return None
    if number := _NUMBERS.get(kind):
        return number.unpack_from(raw, 1)[0]
    try:
        if kind == ord("A") and depth:
            return [untyped(value, depth - 1) for value in _values(raw, 5, len(raw))]
        if kind == ord("F") and depth:
            entries = _entries(raw, 5, len(raw))
            return {key.decode(errors="replace"): untyped(value, depth - 1) for key, value in entries}
    except (MalformedError, IndexError):
        pass
    return None


def is_sendable(raw: bytes) -> bool:
    """Tell whether RabbitMQ takes a value: at a number that is none, or infinite, it gives up the connection."""
    return raw[0] not in b"df" or math.isfinite(_NUMBERS[raw[0]].unpack_from(raw, 1)[0])


def _end(raw: bytes, at: int) -> int:
    kind = raw[at]
    if (size := _SIZES.get(kind)) is not None:
        return at + 1 + size
    if kind in _SIZED:
        return at + 5 + int.from_bytes(raw[at + 1 : at + 5])
    raise MalformedError(f"a header has the unknown type {chr(kind)!r}")


def _walk(at: int, end: int, limit: int, step: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    if end > limit:
        raise MalformedError("a table of headers is longer than what there is")
    while at < end:
        following = step(at)
        if following > end:
            raise MalformedError("a header is longer than the table that it is in")
        yield at, following
        at = following


def _entries(raw: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    for start, following in _walk(at, end, len(raw), lambda at: _end(raw, at + 1 + raw[at])):
        key_end = start + 1 + raw[start]
        yield raw[start + 1 : key_end], raw[key_end:following]


def _values(raw: bytes, at: int, end: int) -> Iterator[bytes]:
    for start, following in _walk(at, end, len(raw), lambda at: _end(raw, at)):
        yield raw[start:following]
