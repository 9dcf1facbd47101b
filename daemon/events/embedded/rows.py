"""Between messages and the rows of the embedded queues; pure."""

import json
from typing import Any

from daemon.clock import from_us, to_us
from daemon.events.model import DeadLetter, Envelope, Message, encode_data
from daemon.store.model import QueuedDelivery


def row_of(message: Message, *, app: str, subscriber: str, now_us: int) -> QueuedDelivery:
    """Return a message as a new row of a subscriber's queue, due at once."""
    envelope = message.envelope
    return QueuedDelivery(
        seq=0,
        app=app,
        subscriber=subscriber,
        event_id=envelope.id,
        event_name=envelope.name,
        source=envelope.source,
        headers=encode_data(
            {
                "time_us": to_us(envelope.time),
                "correlation_id": envelope.correlation_id,
                "causation_id": envelope.causation_id,
                "headers": dict(envelope.headers),
            }
        ),
        body=message.body,
        attempt=1,
        due_us=now_us,
        first_seen_us=now_us,
    )


def message_of_row(row: QueuedDelivery) -> Message:
    """Return the message that a row was made of."""
    rest: dict[str, Any] = json.loads(row.headers)
    envelope = Envelope(
        id=row.event_id, name=row.event_name, source=row.source, time=from_us(rest.pop("time_us")), **rest
    )
    return Message(envelope, row.body)


def dead_letter_of(row: QueuedDelivery) -> DeadLetter:
    """Return a dead row as what commands and the API show."""
    return DeadLetter(
        subscriber=row.subscriber,
        event_id=row.event_id,
        event_name=row.event_name,
        source=row.source,
        body=row.body,
        headers=json.loads(row.headers)["headers"],
        reason=row.reason,
        error=row.error,
        traceback=row.traceback,
        attempts=row.attempt,
        first_seen_us=row.first_seen_us,
        dead_us=row.dead_us or 0,
    )
