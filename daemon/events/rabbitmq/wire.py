"""Events from AMQP messages: everything that we take for an event.

Accepted are our own messages, plain JSON with only a routing key, and CloudEvents in both modes: binary (attributes in
headers, `cloudEvents_id` or `cloudEvents:id`) and structured (the body is the whole event).
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pydantic_core
from aiormq.abc import DeliveredMessage

from daemon.clock import from_us, to_us
from daemon.events.model import ID_MAX, DeadReason, Envelope, Message, check_name, encode_data
from daemon.events.rabbitmq import headers
from daemon.events.rabbitmq.codec import MalformedError, Properties
from daemon.events.rabbitmq.frames import Delivered, confirm_key, unwrapped

STRUCTURED = "application/cloudevents+json"
_ATTRIBUTES = ("cloudEvents_", "cloudEvents:")
_MILLISECONDS_FROM = 2**32  # a timestamp beyond the year 2106 is one in milliseconds
_UNREADABLE = b"?"
_TRACE = ("traceparent", "tracestate")
_checked = lru_cache(256)(check_name)


class UndecodableError(Exception):
    """A message is no event that we could read; `reason` is what its dead letter says."""

    def __init__(self, why: str, reason: DeadReason = DeadReason.UNDECODABLE) -> None:
        self.reason = reason
        super().__init__(why)


def too_large(what: str, size_bytes: int, limit_bytes: int) -> UndecodableError:
    """Return why something is not even looked at."""
    limit = f"the limit is {limit_bytes:,} (daemon.max_payload_bytes)"
    return UndecodableError(f"the {what} is {size_bytes:,} bytes; {limit}", DeadReason.TOO_LARGE)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it was taken from a queue.

    Attributes:
        malformed: Its properties could not be taken apart, so that it cannot be published again.
    """

    queue: str
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes
    redelivered: bool
    malformed: bool = False

    @classmethod
    def of(cls, delivered: DeliveredMessage, queue: str) -> "Incoming":
        """Return what the library delivered."""
        origin = delivered.exchange or "", delivered.routing_key or ""
        raw = unwrapped(delivered.header.properties)
        return cls.taken(Delivered(b"", 0, *origin, bool(delivered.redelivered), raw, delivered.body), queue)

    @classmethod
    def taken(cls, delivered: Delivered, queue: str) -> "Incoming":
        """Return what came on a lane."""
        malformed = False
        try:
            properties = Properties.parse(delivered.properties)
        except MalformedError:
            properties, malformed = Properties(), True
        again = delivered.again
        if properties.headers and not again:
            counted = properties.header("x-delivery-count")
            again = isinstance(counted, int) and counted > 0
        return cls(queue, delivered.exchange, delivered.routing_key, properties, delivered.body, again, malformed)

    @property
    def returned(self) -> bool:
        """Whether we published it to its queue ourselves, so that our headers say what they mean."""
        return (
            self.exchange == ""
            and self.routing_key == self.queue
            and headers.REASON.encode() not in self.properties.headers
        )

    @property
    def origin(self) -> tuple[str, str]:
        """The exchange and the routing key that it was first published with."""
        if not self.properties.headers:
            return self.exchange, self.routing_key
        key = self.properties.header(headers.ROUTING_KEY)
        if self.exchange == "" and isinstance(key, str):
            return str(self.properties.header(headers.EXCHANGE) or ""), key
        return self.exchange, self.routing_key

    @property
    def attempt(self) -> int:
        """Which try this is; the first is 1."""
        made = self.properties.header(headers.ATTEMPTS) if self.returned else None
        return made + 1 if isinstance(made, int) and made >= 0 else 1

    @property
    def interrupted(self) -> bool:
        """Whether it was under way in a process that died, whatever the broker knows of that."""
        return self.redelivered or (self.returned and headers.INTERRUPTED.encode() in self.properties.headers)

    def first_seen_us(self, now_us: int) -> int:
        """When it first reached its subscriber; now, if nobody noted it."""
        noted = moment(self.properties.header(headers.FIRST_SEEN)) if self.returned else None
        return to_us(noted) if noted else now_us


def decode(incoming: Incoming, *, now_us: int, max_payload_bytes: int, missing_id: Callable[[], str]) -> Message:
    """Return the event that a message carries; whether its payload is good is for whoever knows what it should be.

    Args:
        incoming: The message.
        now_us: When it happened, if nobody says.
        max_payload_bytes: Longest body of an event that has to be decoded to be recognised.
        missing_id: Called for an id if the message has none.

    Raises:
        UndecodableError: It carries none.
    """
    if incoming.malformed:
        raise UndecodableError("its properties are malformed")
    try:
        content_type = (incoming.properties.text("content_type") or "").strip().lower()
        if content_type.startswith("application/cloudevents"):
            attributes, body = _structured(incoming.body, content_type, max_payload_bytes)
        else:
            attributes = _binary(incoming.properties) if incoming.properties.headers else {}
            body = incoming.body
        return Message(_envelope(incoming, attributes, now_us, missing_id), body)
    except MalformedError as error:
        raise UndecodableError(str(error)) from None


def _envelope(
    incoming: Incoming, attributes: Mapping[str, Any], now_us: int, missing_id: Callable[[], str]
) -> Envelope:
    properties = incoming.properties
    if not attributes and not properties.headers:
        return _plain_envelope(incoming, now_us, missing_id)
    event_id = _attribute(attributes, "id") or _clean(properties.text("message_id"), "id")
    if event_id is not None and len(event_id) > ID_MAX:
        raise UndecodableError(f"its id has {len(event_id)} characters; at most {ID_MAX} are allowed")
    event_id = event_id or missing_id()
    correlation = _clean(properties.text("correlation_id"), "correlation id")
    return Envelope(
        id=event_id,
        name=_name(incoming, attributes),
        time=_time(attributes, properties) or from_us(incoming.first_seen_us(now_us)),
        source=_attribute(attributes, "source") or _clean(properties.text("app_id"), "source") or "",
        correlation_id=_attribute(attributes, "correlationid") or correlation or event_id,
        causation_id=_attribute(attributes, "causationid"),
        headers=headers.scalars(properties) | dict(_trace(properties, attributes)),
    )


def _plain_envelope(incoming: Incoming, now_us: int, missing_id: Callable[[], str]) -> Envelope:
    """Return the same of a message without headers, which is how many come: there is not much to look for."""
    properties = incoming.properties
    event_id = _clean(properties.text("message_id"), "id") or missing_id()
    return Envelope(
        event_id,
        _name(incoming, {}),
        _time({}, properties) or from_us(now_us),
        _clean(properties.text("app_id"), "source") or "",
        _clean(properties.text("correlation_id"), "correlation id") or event_id,
    )


def _trace(properties: Properties, attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the headers of the trace: a CloudEvent's attributes go first, and some programs write them as bytes."""
    for name in _TRACE:
        raw = properties.headers.get(name.encode(), b"")
        written = raw[5:].decode(errors="replace") if raw.startswith(b"x") else properties.header(name)
        found = attributes.get(name) or written
        if isinstance(found, str):
            yield name, found


def _name(incoming: Incoming, attributes: Mapping[str, Any]) -> str:
    """Return the routing key, which its subscriber asked for; or its type if somebody put it on the queue."""
    key = incoming.origin[1]
    if key == incoming.queue:
        key = _attribute(attributes, "type") or incoming.properties.text("type") or key
    try:
        return _checked(key)
    except ValueError as error:
        raise UndecodableError(str(error)) from None


def _binary(properties: Properties) -> dict[str, Any]:
    attributes = {}
    for key in properties.headers:
        if key.startswith(b"cloudEvents"):
            name = key.decode(errors="replace")
            if name.startswith(_ATTRIBUTES):
                value = properties.header(name)
                attributes[name[len(_ATTRIBUTES[0]) :]] = _UNREADABLE if value is None else value
    return attributes


def _structured(raw: bytes, content_type: str, max_payload_bytes: int) -> tuple[dict[str, Any], bytes]:
    if len(raw) > max_payload_bytes:
        raise too_large("event", len(raw), max_payload_bytes)
    if not content_type.startswith(STRUCTURED):
        raise UndecodableError(f"the content type {content_type[:80]!r} is not supported; send {STRUCTURED}")
    event = _parsed(raw)
    if not isinstance(event, dict):
        raise UndecodableError("a structured CloudEvent is a JSON object, and this is none")
    try:
        if "data_base64" in event:
            body = base64.b64decode(event.pop("data_base64"), validate=True)
        else:
            body = encode_data(event.pop("data", None))
    except (binascii.Error, TypeError, ValueError) as error:
        raise UndecodableError(f"the CloudEvent's data cannot be read: {error}") from None
    return event, body


def _parsed(raw: bytes) -> Any:
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise UndecodableError(f"the CloudEvent is not JSON: {error}") from None


def _attribute(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    if value is not None and not isinstance(value, str):
        raise UndecodableError(f"the CloudEvents attribute {name!r} is not a text")
    return _clean(value, name)


def _clean(value: str | None, what: str) -> str | None:
    if value and "\x00" in value:
        raise UndecodableError(f"its {what} holds a NUL character")  # which no database takes
    return value or None


def _time(attributes: Mapping[str, Any], properties: Properties) -> datetime | None:
    given = moment(attributes["time"]) if "time" in attributes else None
    stamp = int.from_bytes(properties.fields.get("timestamp", b"")) if given is None else 0
    return given or (moment(stamp) if stamp else None)


def moment(value: Any) -> datetime | None:
    """Return a time given as ISO 8601, or in seconds or milliseconds since the epoch; None if it is none of these."""
    try:
        if isinstance(value, str):
            given = datetime.fromisoformat(value)
            return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
        if isinstance(value, int):
            seconds = value / 1_000 if value >= _MILLISECONDS_FROM else value
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def identify(incoming: Incoming) -> tuple[str, str]:
    """Return the id and the name of a message that need not be decodable; an id may be missing, and is empty then."""
    properties = incoming.properties
    found = properties.header("cloudEvents_id") or properties.header("cloudEvents:id")
    if not isinstance(found, str):
        found = confirm_key(properties) if "message_id" in properties.fields else ""
    return found[:ID_MAX].replace("\x00", ""), incoming.origin[1]
