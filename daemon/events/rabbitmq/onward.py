"""Copies of a delivery that go on their way: to a wait queue, into the store, to the dead letters."""

from daemon.clock import from_us
from daemon.events.rabbitmq import headers, wire
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.outgoing import iso, republished
from daemon.events.rabbitmq.publisher import HeadersTooLargeError, Publisher

ERROR_MAX_BYTES = 4_096


def noted(incoming: wire.Incoming, event_id: str, *, attempts: int, first_seen_us: int, error: str) -> Properties:
    """Return a message's properties, with what has happened to it."""
    exchange, routing_key = incoming.origin
    properties = republished(incoming, event_id)
    properties.set_header(headers.ATTEMPTS, attempts)
    properties.set_header(headers.FIRST_SEEN, iso(from_us(first_seen_us)))
    properties.set_header(headers.EXCHANGE, exchange)
    properties.set_header(headers.ROUTING_KEY, routing_key)
    if error:
        properties.set_header(headers.ERROR, clipped(error, ERROR_MAX_BYTES))
    return properties


async def publish_readable(
    publisher: Publisher, exchange: str, routing_key: str, properties: Properties, body: bytes
) -> bool:
    """Publish; with less of what went wrong where the headers do not fit into a frame."""
    for dropped in (headers.TRACEBACK, headers.ERROR):
        try:
            return await publisher.publish(exchange, routing_key, properties, body)
        except HeadersTooLargeError:
            properties.headers.pop(dropped.encode(), None)
    return await publisher.publish(exchange, routing_key, properties, body)


def clipped(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Return as much of a text as fits into `limit` bytes; of a traceback the end says what happened."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return (encoded[-limit:] if keep_end else encoded[:limit]).decode(errors="ignore")
