"""Events to AMQP messages: what we publish, and what we pass on."""

from datetime import UTC, datetime

from daemon.clock import to_us
from daemon.events.model import Message
from daemon.events.rabbitmq.codec import Properties, is_sendable
from daemon.events.rabbitmq.headers import is_plain, is_technical
from daemon.events.rabbitmq.wire import Incoming


def encode(message: Message) -> Properties:
    """Return the properties of an event that we publish."""
    envelope = message.envelope
    properties = Properties({"delivery_mode": b"\x02"})
    for name, value in envelope.headers.items():
        key = name.encode()
        if is_plain(value) and not is_technical(key) and not key.startswith(b"cloudEvents"):
            properties.set_header(name, value)
    for name, text in (
        ("content_type", "application/json"),
        ("message_id", envelope.id),
        ("type", envelope.name),
        ("app_id", envelope.source),
        ("correlation_id", envelope.correlation_id or envelope.id),
    ):
        properties.set_text(name, text)
    properties.fields["timestamp"] = max(0, to_us(envelope.time) // 1_000_000).to_bytes(8)
    properties.set_header("cloudEvents_id", envelope.id)
    properties.set_header("cloudEvents_source", envelope.source)
    properties.set_header("cloudEvents_type", envelope.name)
    properties.set_header("cloudEvents_specversion", "1.0")
    properties.set_header("cloudEvents_time", iso(envelope.time))
    if envelope.causation_id:
        properties.set_header("cloudEvents_causationid", envelope.causation_id)
    return properties


def republished(incoming: Incoming, event_id: str) -> Properties:
    """Return the properties of a message that goes on its way again: its own, without what would mislead the broker.

    It is kept on disk, does not expire, and has an id from now on. The user who published it is not us: the broker
    would refuse it.
    """
    own = incoming.properties
    dropped = ("expiration", "user_id", "cluster_id")
    properties = Properties(
        {name: value for name, value in own.fields.items() if name not in dropped} | {"delivery_mode": b"\x02"},
        {key: value for key, value in own.headers.items() if not is_technical(key) and is_sendable(value)},
    )
    if "message_id" not in own.fields:
        properties.set_text("message_id", event_id)
    return properties


def iso(when: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
