"""What the tests of the bus on RabbitMQ work with."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from daemon.events.bus import Delivery, Subscription
from daemon.events.rabbitmq import RabbitBus
from daemon.events.rabbitmq.consumer import RabbitConsumer
from daemon.events.rabbitmq.topology import TIERS_MS
from daemon.store.memory import MemoryStore
from daemon.store.writes import Outcome, Write
from tests.services import RabbitContainer, RabbitNode

Node = RabbitNode | RabbitContainer


async def until(probe: Callable[[], bool], *, timeout_s: float = 10) -> None:
    """Return once `probe` holds."""
    async with asyncio.timeout(timeout_s):
        while not probe():  # noqa: ASYNC110 - what the broker does sets no event
            await asyncio.sleep(0.01)


class Inbox:
    """Takes deliveries over, as a dispatch does."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()

    def __call__(self, delivery: Delivery) -> None:
        """Take one."""
        self._queue.put_nowait(delivery)

    @property
    def waiting(self) -> int:
        """How many were delivered and not looked at."""
        return self._queue.qsize()

    async def next(self, *, timeout_s: float = 10) -> Delivery:
        """Return the next delivery."""
        async with asyncio.timeout(timeout_s):
            return await self._queue.get()


class DeafStore(MemoryStore):
    """A store to which a process that is dying says nothing any more."""

    deaf = False

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        return super().commit(*(() if self.deaf else writes))


class Laboratory:
    """One application with its own names on a broker that others use too."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app = f"test-{secrets.token_hex(4)}"
        self.exchange = f"{self.app}-events"
        self.store = DeafStore()
        self._buses: list[RabbitBus] = []
        self.subscribers: set[str] = set()

    async def bus(self, **options: Any) -> RabbitBus:
        """Return a bus that has begun to connect."""
        chosen: dict[str, Any] = {"url": self.url, "app": self.app, "exchange": self.exchange, "quarantine_s": 0.2}
        chosen |= {"store": self.store, "owner": f"process-{len(self._buses)}"}
        bus = RabbitBus(**(chosen | options))
        self._buses.append(bus)
        await bus.start()
        return bus

    async def die(self, bus: RabbitBus) -> None:
        """End a bus as a killed process does: at once, and without a word to the store."""
        self.store.deaf = True
        await bus._shelf.aclose()
        await bus._consume.aclose()
        await bus._publish.aclose()
        await until(lambda: all(consumer._intake.empty for consumer in bus._consumers))
        self.store.deaf = False

    async def subscribe(
        self, bus: RabbitBus, subscriber: str, *patterns: str, prefetch: int = 10, ordered: bool = False
    ) -> tuple[RabbitConsumer, Inbox]:
        """Consume, once the broker has confirmed it."""
        consumer, inbox = await self.attempt(bus, subscriber, *patterns, prefetch=prefetch, ordered=ordered)
        await until(lambda: consumer.ready)
        return consumer, inbox

    async def attempt(
        self, bus: RabbitBus, subscriber: str, *patterns: str, prefetch: int = 10, ordered: bool = False
    ) -> tuple[RabbitConsumer, Inbox]:
        """Ask to consume."""
        inbox = Inbox()
        self.subscribers.add(subscriber)
        consumer = await bus.subscribe(Subscription(subscriber, patterns, prefetch, ordered), inbox)
        return consumer, inbox

    async def publish(
        self, key: str, body: bytes, properties: pika.BasicProperties | None = None, *, exchange: str | None = None
    ) -> None:
        """Publish as another program does, confirmed."""

        def publish(channel: BlockingChannel) -> None:
            channel.confirm_delivery()
            channel.basic_publish(self.exchange if exchange is None else exchange, key, body, properties)

        await self.amqp(publish)

    async def take(self, queue: str) -> tuple[pika.spec.Basic.GetOk, pika.BasicProperties, bytes]:
        """Take a message from a queue, as another program does; waits for one."""
        taken: list[Any] = []

        def take(channel: BlockingChannel) -> None:
            taken[:] = channel.basic_get(queue, auto_ack=True)

        async with asyncio.timeout(10):
            while not taken or taken[0] is None:
                await self.amqp(take)
        return taken[0], taken[1], taken[2]

    async def until_nothing_is_kept(self) -> None:
        """Return once the store keeps no delivery, and knows nothing of any."""
        await until(lambda: not self.store._queues.depths(self.app) and not self.store._receipts._receipts)

    async def amqp(self, work: Callable[[BlockingChannel], object]) -> None:
        """Do something on a channel of pika's."""

        def connected() -> None:
            connection = pika.BlockingConnection(pika.URLParameters(self.url))
            try:
                work(connection.channel())
            finally:
                connection.close()

        await asyncio.to_thread(connected)

    async def delete_queue(self, subscriber: str) -> None:
        """Delete a subscriber's queue under it."""
        await self.amqp(lambda channel: channel.queue_delete(f"{self.app}.{subscriber}"))

    async def aclose(self) -> None:
        """Close the buses, and leave nothing on the broker."""
        for bus in self._buses:
            await bus.aclose()

        def clean(channel: BlockingChannel) -> None:
            for subscriber in self.subscribers:
                channel.queue_delete(f"{self.app}.{subscriber}")
                channel.queue_delete(f"{self.app}.{subscriber}.dead")
            for tier in TIERS_MS:
                channel.queue_delete(f"{self.app}.wait.{tier}")
                channel.exchange_delete(f"{self.app}.wait.{tier}")
            channel.exchange_delete(self.exchange)

        await self.amqp(clean)
