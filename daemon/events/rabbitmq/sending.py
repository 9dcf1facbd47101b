"""Sending events: not before every queue of ours is there, on whatever broker this is by now."""

from collections.abc import Callable, Sequence

from daemon.errors import BrokerUnavailableError, PayloadTooLargeError
from daemon.events.bus import Subscription
from daemon.events.model import Message
from daemon.events.rabbitmq.connection import Link, in_time
from daemon.events.rabbitmq.outgoing import encode
from daemon.events.rabbitmq.publisher import HeadersTooLargeError, Publisher
from daemon.events.rabbitmq.roll import Roll
from daemon.events.rabbitmq.topology import Topology
from daemon.log import get_logger

UNROUTABLE_NAMES_MAX = 1_000

_log = get_logger(__name__)


class Sender:
    """Sends what a bus is given.

    Attributes:
        unroutable: How many events no queue was bound to.

    Args:
        consume: The connection that consumes, on which queues are declared.
        publish: The connection that publishes.
        topology: What the broker has to have.
        publisher: Publishes, confirmed.
        roll: Whose queues are to be there first.
        wanting: Returns those of ours that want events of a name.
        timeout_s: How long to wait for what has to be there, in seconds.
    """

    def __init__(
        self,
        consume: Link,
        publish: Link,
        *,
        topology: Topology,
        publisher: Publisher,
        roll: Roll,
        wanting: Callable[[str], Sequence[Subscription]],
        timeout_s: float,
    ) -> None:
        self.unroutable = 0
        self._consume = consume
        self._publish = publish
        self._topology = topology
        self._publisher = publisher
        self._roll = roll
        self._wanting = wanting
        self._timeout_s = timeout_s
        self._prepared_for = 0  # the publishing connection for which everything is there; 0: look
        self._told: set[str] = set()

    def look_again(self) -> None:
        """See whether everything is there before the next event: a connection or a subscriber is new."""
        self._prepared_for = 0

    async def send(self, message: Message) -> bool:
        """Send an event; return whether any queue took it, once it is durable there. As `Bus.send`."""
        name = message.envelope.name
        restored = False
        while True:
            generation = self._prepared_for or await in_time(self._prepared(), self._timeout_s, self._trouble)
            routed = await self._published(message)
            if generation != self._publish.generation:
                continue  # it may have been an empty broker, on which the queues of ours were not there yet
            if routed:
                return True
            wanting = self._wanting(name)
            if restored or not wanting:
                break
            restored = True  # a queue or binding of ours has gone: with it in place, once more
            for subscription in wanting:
                await in_time(self._topology.prepare(subscription), self._timeout_s, self._trouble)
        self._note_unroutable(name)
        return False

    def _trouble(self) -> str:
        return self._consume.trouble or self._publish.trouble

    async def _prepared(self) -> int:
        """Return when what is published reaches every queue of ours, and on which connection.

        An answer about the exchange on the one that consumes, asked for since the one that publishes was made, tells
        that both are to the same broker, and not one of them to a former that is gone.
        """
        await self._publish.wait_up()
        generation = self._publish.generation
        await self._consume.wait_up()
        if trouble := await self._topology.prepare_exchange():
            raise BrokerUnavailableError(trouble)
        await self._roll.complete()
        self._prepared_for = generation if generation == self._publish.generation else 0
        return generation

    async def _published(self, message: Message) -> bool:
        name = message.envelope.name
        properties = encode(message)
        try:
            return await self._publisher.publish(self._topology.exchange, name, properties, message.body)
        except HeadersTooLargeError as error:
            size = len(properties.marshal())
            raise PayloadTooLargeError(f"The envelope of {name!r}", size, self._publish.frame_max) from error
        except BrokerUnavailableError:
            self._topology.forget()  # it may have been the exchange that is not there any more
            self.look_again()
            raise

    def _note_unroutable(self, name: str) -> None:
        self.unroutable += 1
        if name not in self._told and len(self._told) < UNROUTABLE_NAMES_MAX:
            self._told.add(name)
            _log.warning("event_unroutable", event_name=name, reason="no queue is bound to this name")
