"""What an application publishes with, wherever it is: the `EventBus` in the container."""

from dataclasses import replace

from daemon.activation import current_activation
from daemon.clock import Clock
from daemon.errors import PayloadTooLargeError
from daemon.events.bus import Bus
from daemon.events.model import Event, Message, encode_event
from daemon.trace import Trace


class EventBus:
    """Publishes events: `await (await container.aget(EventBus)).publish(event)`.

    Args:
        bus: What carries them.
        app: The application's name, their source.
        max_payload_bytes: The largest payload.
    """

    def __init__(self, bus: Bus, *, app: str, clock: Clock, max_payload_bytes: int) -> None:
        self._bus = bus
        self._app = app
        self._clock = clock
        self._max_payload_bytes = max_payload_bytes

    async def publish(self, event: Event, *, id: str | None = None) -> str:
        """Publish an event and return its id, once it is durable.

        Publishing again with the same id is one event to every subscriber. An event that is published while another
        one is handled carries that one's correlation id, and its id as the cause.

        Raises:
            DefinitionError: The event's class has no name.
            CodecError: It has no JSON form; names the field.
            ValueError: `id` is empty or longer than 255 characters.
            PayloadTooLargeError: The payload is above `max_payload_bytes`.
            BrokerUnavailableError: Whether it was taken is unknown; publish again with the same id.
        """
        activation = current_activation()
        by = activation.trigger if activation is not None else None
        trace = by.trace() if by is not None and by.traceparent else None
        message = encode_event(event, source=self._app, now_us=self._clock.now_us(), id=id, trace=trace)
        if activation is not None and by is not None and by.correlation_id is not None:
            envelope = replace(message.envelope, correlation_id=by.correlation_id, causation_id=activation.causation_id)
            message = replace(message, envelope=envelope)
        await self.send(message)
        return message.envelope.id

    async def send(self, message: Message) -> bool:
        """Publish a message; tell whether any queue was bound to its name. Raises as `publish` does.

        It is published as it is, but for a trace if it has none.
        """
        if len(message.body) > self._max_payload_bytes:
            raise PayloadTooLargeError(f"event {message.envelope.name!r}", len(message.body), self._max_payload_bytes)
        envelope = message.envelope
        if Trace.given(envelope.headers) is None:
            identity = envelope.source, envelope.name, envelope.id
            headers = {**envelope.headers, **Trace.of({}, *identity).headers(*identity)}
            message = replace(message, envelope=replace(envelope, headers=headers))
        return await self._bus.send(message)
