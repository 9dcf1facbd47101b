"""From a message's bytes to what a handler gets; pure."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from daemon.events.model import DeadReason, Event, Message, event_of
from daemon.events.patterns import matches
from daemon.events.subscriber import Subscriber

_NAMED_FIELDS_MAX = 50


class BadPayloadError(Exception):
    """A payload that the handler cannot be given, now or later; says what is wrong with it."""

    def __init__(self, reason: DeadReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def wanted(subscriber: Subscriber[Any], name: str) -> bool:
    """Tell whether a subscriber takes events of this name; a queue may still be bound to what it took once."""
    if name in subscriber.models:
        return True
    return not subscriber.models and any(matches(pattern, name) for pattern in subscriber.patterns)


def payload_of(subscriber: Subscriber[Any], message: Message, *, limit_bytes: int) -> Event | dict[str, Any]:
    """Return a message's payload as its event's class, or as a dict for a pattern's subscriber.

    Raises:
        BadPayloadError: It is too large, no JSON, or does not fit; every wrong field is named.
    """
    body = message.body
    if len(body) > limit_bytes:
        size = f"The payload is {len(body):,} bytes; the limit is {limit_bytes:,} (daemon.max_payload_bytes)."
        raise BadPayloadError(DeadReason.TOO_LARGE, size)
    if subscriber.models:
        return _as_event(subscriber.models[message.envelope.name], body)
    try:
        payload = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadPayloadError(DeadReason.UNDECODABLE, f"The payload is no JSON: {error}.") from None
    if not isinstance(payload, dict):
        what = f"The payload is no JSON object but {_json_kind(payload)}; a subscriber to a pattern gets a dict."
        raise BadPayloadError(DeadReason.INVALID_PAYLOAD, what)
    return payload


def _as_event(model: type[Event], body: bytes) -> Event:
    try:
        return event_of(model, body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        if errors[0]["type"] == "json_invalid":
            raise BadPayloadError(DeadReason.UNDECODABLE, f"The payload is no JSON: {errors[0]['msg']}.") from None
        what = f"The payload does not fit {model.__qualname__}: {_wrong_fields(errors)}."
        raise BadPayloadError(DeadReason.INVALID_PAYLOAD, what) from None


def _wrong_fields(errors: Sequence[ErrorDetails]) -> str:
    """Return `field: what is wrong with it` for each, without the values: they may be secrets."""
    named = [
        f"{'.'.join(str(part) for part in error['loc']) or 'the whole'}: {error['msg']}"
        for error in errors[:_NAMED_FIELDS_MAX]
    ]
    more = len(errors) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _json_kind(value: object) -> str:
    kinds = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return kinds.get(type(value), "an array")
