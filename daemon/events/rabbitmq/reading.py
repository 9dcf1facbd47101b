"""What is taken from a queue, read as an event as far as it is one."""

from daemon.clock import from_us, new_id
from daemon.events.model import Envelope, Message
from daemon.events.rabbitmq import wire


def read(
    incoming: wire.Incoming, *, now_us: int, max_payload_bytes: int
) -> tuple[Message, wire.UndecodableError | None, bool]:
    """Return the event that a message of anybody's carries, and whether it came without an id and was given one.

    Between the two is why it is none that could be handled, if it is none; then the event is what can be told of it.
    """
    anonymous = False

    def missing_id() -> str:
        nonlocal anonymous
        anonymous = True
        return new_id(now_us)

    problem: wire.UndecodableError | None = None
    try:
        message = wire.decode(incoming, now_us=now_us, max_payload_bytes=max_payload_bytes, missing_id=missing_id)
    except Exception as error:  # noqa: BLE001 - it came from anybody: whatever it does to us, it must not stay here
        unforeseen = f"{type(error).__name__}: {error}"
        problem = error if isinstance(error, wire.UndecodableError) else wire.UndecodableError(unforeseen)
        event_id, name = wire.identify(incoming)
        message = Message(Envelope(event_id or missing_id(), name, from_us(now_us), ""), incoming.body)
    if problem is None and len(message.body) > max_payload_bytes:
        problem = wire.too_large("payload", len(message.body), max_payload_bytes)
    return message, problem, anonymous
