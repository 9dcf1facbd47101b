"""A daemon with an ordered subscriber, as far as its bus and its handler go."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pika

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.events.bus import Delivery, Subscription
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.retry import Retry
from tests.integration.rabbitmq.laboratory import Laboratory, until

if TYPE_CHECKING:
    from daemon.events.rabbitmq import RabbitBus
    from daemon.events.rabbitmq.consumer import RabbitConsumer

LEASE_S = 3_600.0
LEDGER = Subscription("ledger", ("entry",), 1, ordered=True)
Handler = Callable[[str, int], Awaitable[None]]


class Daemon:
    """A process with the ordered subscriber `ledger`, and a lease that says that it lives."""

    def __init__(self, lab: Laboratory, owner: str) -> None:
        self.lab = lab
        self.owner = owner
        self.ran: list[tuple[str, int]] = []
        self.done: list[str] = []
        self.bus: RabbitBus
        self.consumer: RabbitConsumer
        self.dispatcher: Dispatcher

    async def start(self, handle: Handler, **options: Any) -> None:
        """Consume."""

        @subscriber("entry", id="ledger", ordered=True, retry=Retry(max_attempts=5, delay=timedelta(seconds=0.3)))
        async def ledger(event: dict[str, Any], ctx: SubscriberContext) -> None:
            del event
            self.ran.append((ctx.event.id, ctx.attempt))
            await handle(ctx.event.id, ctx.attempt)
            self.done.append(ctx.event.id)

        store = self.lab.store
        await store.register(self.lab.app, self.owner, lease_s=LEASE_S)
        self.bus = await self.lab.bus(owner=self.owner, **options)
        around = Surroundings(self.lab.app, store, SystemClock(), Services([]).handler_container, lambda: None)
        self.dispatcher = Dispatcher(ledger, around, options={})
        self.lab.subscribers.add("ledger")
        self.consumer = await self.bus.subscribe(LEDGER, self.dispatcher.receive)
        await until(lambda: self.consumer.ready)

    async def die(self) -> None:
        """End as a killed process does."""
        self.lab.store.deaf = True
        await self.dispatcher.drain(0)
        await self.lab.die(self.bus)
        await self.lab.store.retire(self.owner)


async def at_once(id: str, attempt: int) -> None:
    """Handle an event without any trouble."""


async def publish(lab: Laboratory, *ids: str) -> None:
    """Publish entries, as another program does."""
    for id in ids:
        await lab.publish("entry", b"{}", pika.BasicProperties(message_id=id))


def id_of(delivery: Delivery) -> str:
    """Return the id of an event."""
    return delivery.message.envelope.id
