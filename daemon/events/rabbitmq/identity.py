"""How an event is recognised whose publisher gave it no id.

Two equal messages are two events, so what they have in common is not their id. Each gets one when it comes first,
which is kept in the store beside its fingerprint before anybody sees the event. One that comes again gets the oldest id
of its fingerprint that is unfinished: of a process that is dead, or that saw it being returned to the broker.
"""

import hashlib
from dataclasses import replace

from daemon.events.model import Message
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.headers import is_technical
from daemon.events.rabbitmq.wire import Incoming


def fingerprint(incoming: Incoming) -> str:
    """Return what two deliveries of one message have in common: routing key, properties and body."""
    headers = {key: value for key, value in incoming.properties.headers.items() if not is_technical(key)}
    digest = hashlib.blake2b(digest_size=16)
    digest.update(incoming.origin[1].encode())
    digest.update(Properties(incoming.properties.fields, headers).marshal())
    digest.update(incoming.body)
    return digest.hexdigest()


def renamed(message: Message, event_id: str) -> Message:
    """Return the same event by another id."""
    envelope = message.envelope
    correlation = event_id if envelope.correlation_id == envelope.id else envelope.correlation_id
    return replace(message, envelope=replace(envelope, id=event_id, correlation_id=correlation))
