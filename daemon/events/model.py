"""Events, and what travels for them: the envelope, the message, the dead letter; no I/O."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from daemon.clock import from_us, new_id, to_us
from daemon.errors import CodecError, DefinitionError
from daemon.trace import Trace

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
NAME_MAX = 200
ID_MAX = 255


def check_name(name: str) -> str:
    """Return `name` if it is an event name: dotted words of letters, digits, `_` and `-`, at most 200 characters.

    Raises:
        ValueError: It is none; the message says what one looks like.
    """
    if len(name) > NAME_MAX or _NAME.fullmatch(name) is None:
        what = "use words of letters, digits, '_' and '-' joined by dots ('order.placed')."
        raise ValueError(f"{name[:80]!r} is no event name: {what}")
    return name


class Event(BaseModel):
    """A fact that happened: a pydantic model whose name is its routing key.

    class CustomerCreated(Event, name="customer.created"):
        id: str
    """

    __event_name__: ClassVar[str | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if name is not None:
            try:
                cls.__event_name__ = check_name(name)
            except ValueError as error:
                raise DefinitionError(f"{cls.__qualname__}: {error}") from None

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)


E = TypeVar("E", bound=Event)


def name_of(event: type[Event]) -> str:
    """Return the name that an event's class was given.

    Raises:
        DefinitionError: The class has none, or is none of an event: it could neither be published nor subscribed to.
    """
    name: str | None = getattr(event, "__event_name__", None)
    if name is not None:
        return name
    if Event not in event.__mro__:
        given = "a class" if issubclass(event, type) else f"of type {event.__qualname__}"
        msg = f"An event is expected, and this is {given}: make one of a class of events, OrderPlaced(order_id=...)."
        raise DefinitionError(msg)
    msg = f"{event.__qualname__} has no event name: write class {event.__name__}(Event, name='order.placed')."
    raise DefinitionError(msg)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of an event besides its payload.

    Attributes:
        id: Unique together with `source` and `name`.
        time: When it happened, as its publisher says; aware.
        source: Which application published it.
        correlation_id: Shared by everything that one first event set off; that event's id, at the least.
        causation_id: The event in whose handling this one was emitted.
        headers: What else the publisher sent along.
    """

    id: str
    name: str
    time: datetime
    source: str
    correlation_id: str | None = None
    causation_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it travels: its envelope and its payload as JSON."""

    envelope: Envelope
    body: bytes


class DeadReason(StrEnum):
    """Why a delivery was given up."""

    INVALID_PAYLOAD = "invalid_payload"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up, kept with its reason.

    Attributes:
        subscriber: Whose queue it was on.
        event_id: The event's id; with `subscriber` it names the dead letter in commands and the API.
        reason: A `DeadReason`, or what the broker says (`expired`, `maxlen`, `delivery_limit`).
        error: Type and message of the last failure.
        traceback: At most 8 KiB; may be empty.
        attempts: How many times it was tried.
        first_seen_us: When it first reached us, microseconds since the epoch.
        dead_us: When it was given up, likewise.
    """

    subscriber: str
    event_id: str
    event_name: str
    source: str
    body: bytes
    headers: Mapping[str, Any]
    reason: str
    error: str
    traceback: str
    attempts: int
    first_seen_us: int
    dead_us: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters of a subscriber are meant; without arguments all of them.

    Attributes:
        ids: Those of these events; None: of any.
        error: Those with this text in their reason or error, ignoring case; None: whatever they died of.
    """

    ids: frozenset[str] | None = None
    error: str | None = None

    @property
    def everything(self) -> bool:
        """Whether all are meant."""
        return self.ids is None and self.error is None

    def wants(self, letter: DeadLetter) -> bool:
        """Tell whether this one is meant."""
        text = f"{letter.reason}\n{letter.error}".casefold()
        return (self.ids is None or letter.event_id in self.ids) and (
            self.error is None or self.error.casefold() in text
        )


EVERYTHING = Choice()


def body_of(event: Event) -> bytes:
    """Return an event's payload as JSON, under the names of its fields.

    Raises:
        CodecError: It has no JSON form; names the field.
    """
    try:
        return event.__pydantic_serializer__.to_json(event)
    except PydanticSerializationError as error:
        said = str(error).removeprefix("Error serializing to JSON: ")
        if "utf-8" in said:
            said += ". Give its class model_config = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')."
        raise CodecError(f"event {name_of(type(event))!r} has no JSON form{_where(event)}: {said}") from None


def _where(event: Event) -> str:
    for name in type(event).model_fields:
        try:
            event.__pydantic_serializer__.to_json(event, include={name})
        except PydanticSerializationError:
            return f" at {name}"
    return ""


def event_of(model: type[E], body: bytes) -> E:
    """Return the event of a payload, whose fields go by their names, as we write them, or by their aliases.

    Raises:
        ValidationError: It does not fit.
    """
    return model.model_validate_json(body, by_alias=True, by_name=True)


def encode_event(
    event: Event,
    *,
    source: str,
    now_us: int,
    id: str | None = None,
    cause: Envelope | None = None,
    trace: Trace | None = None,
) -> Message:
    """Return the message that publishes `event`, caused by `cause` if it is emitted while that is handled.

    Raises:
        DefinitionError: The event's class has no name.
        CodecError: It has no JSON form; names the field.
        ValueError: `id` is empty or longer than 255 characters.
    """
    return message_of(
        name_of(type(event)),
        body_of(event),
        source=source,
        now_us=now_us,
        id=id,
        cause=cause,
        trace=trace,
    )


def message_of(
    name: str,
    body: bytes,
    *,
    source: str,
    now_us: int,
    id: str | None = None,
    cause: Envelope | None = None,
    trace: Trace | None = None,
) -> Message:
    """Return a message for a payload that is JSON already; arguments as for `encode_event`."""
    if id is not None and not 1 <= len(id) <= ID_MAX:
        msg = f"An event id has 1 to {ID_MAX} characters, not {len(id)}."
        raise ValueError(msg)
    event_id = id or new_id(now_us)
    return Message(
        Envelope(
            id=event_id,
            name=name,
            time=from_us(now_us),
            source=source,
            correlation_id=(cause.correlation_id or cause.id) if cause else event_id,
            causation_id=cause.id if cause else None,
            headers=trace.headers(source, name, event_id) if trace else {},
        ),
        body,
    )


def encode_data(data: object) -> bytes:
    """Return plain data as JSON, as compact as it goes.

    Raises:
        ValueError: It holds NaN or an infinity.
        TypeError: It is no plain data.
    """
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def pack(message: Message) -> bytes:
    """Return a message as JSON, for the outbox and the embedded queues; `unpack` is the way back."""
    envelope = message.envelope
    return encode_data(
        {
            "id": envelope.id,
            "name": envelope.name,
            "time_us": to_us(envelope.time),
            "source": envelope.source,
            "correlation_id": envelope.correlation_id,
            "causation_id": envelope.causation_id,
            "headers": dict(envelope.headers),
            "body": message.body.decode(),
        }
    )


def unpack(packed: bytes) -> Message:
    """Return the message that `pack` made these bytes of."""
    fields = json.loads(packed)
    body = fields.pop("body").encode()
    return Message(Envelope(time=from_us(fields.pop("time_us")), **fields), body)
