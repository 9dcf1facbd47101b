"""The bus on RabbitMQ: what is public, put together from its parts."""

import asyncio
import math
import random
from collections.abc import Callable, Collection, Sequence
from functools import partial

from yarl import URL

from daemon.clock import Clock, SystemClock
from daemon.events.bus import REPLAY_PER_S, Delivery, QueueState, Subscription
from daemon.events.model import EVERYTHING, Choice, DeadLetter, Message
from daemon.events.rabbitmq.connection import Link, in_time
from daemon.events.rabbitmq.consumer import RabbitConsumer
from daemon.events.rabbitmq.intake import Intake
from daemon.events.rabbitmq.liveness import watch
from daemon.events.rabbitmq.operating import Operator, depth
from daemon.events.rabbitmq.publisher import Publisher
from daemon.events.rabbitmq.quarantine import Quarantine
from daemon.events.rabbitmq.receipts import Receipts
from daemon.events.rabbitmq.roll import Roll
from daemon.events.rabbitmq.sending import Sender
from daemon.events.rabbitmq.shelf import Shelf
from daemon.events.rabbitmq.target import Target
from daemon.events.rabbitmq.topology import Declare, Topology
from daemon.events.rabbitmq.turn import Turn
from daemon.events.topology import Plan
from daemon.log import get_logger
from daemon.store.port import Store

_log = get_logger(__name__)


class RabbitBus:
    """A `Bus` on RabbitMQ 3.10 or newer.

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps://`.
        app: Prefix of queues, source of events.
        exchange: The topic exchange that events are published to.
        heartbeat_s: A silent connection is given up after three times this, in seconds.
        consumer_timeout_s: The broker's own limit for an unanswered delivery, in seconds.
        declare: `missing` declares what is not there; `never` is for users who may not configure the broker.
        tls_ca: Path of the authority's certificate for amqps; empty trusts the system's.
        tls_cert: Path of the certificate to present; empty presents none.
        tls_key: Path of its key.
        max_payload_bytes: Longest event that is decoded here, which is a CloudEvent in structured mode.
        publish_timeout_s: How long publishing may take, with waiting for the connection, in seconds.
        quarantine_s: Wait before a subscriber is tried again whose queue the broker refuses, in seconds.
        liveness_s: How often the broker is asked whether it knows that a subscriber consumes, in seconds.
        clock: Time.
        chance: Random numbers from 0 to 1.
        store: Keeps what has to outlive this process: what queues were bound to, the ids of events that came without
            one.
        owner: This process's id in the store, whose lease says that it lives.
        leased_until_s: Tells until when that lease goes on for sure, by `clock`; nothing of ordered subscribers is
            started afterwards.
    """

    def __init__(
        self,
        url: str,
        *,
        app: str,
        store: Store,
        owner: str,
        exchange: str = "events",
        heartbeat_s: float = 10,
        consumer_timeout_s: float = 1_800,
        declare: Declare = "missing",
        tls_ca: str = "",
        tls_cert: str = "",
        tls_key: str = "",
        max_payload_bytes: int = 1_048_576,
        publish_timeout_s: float = 10,
        quarantine_s: float = 30,
        liveness_s: float = 30,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        leased_until_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._store = store
        self._owner = owner
        self._leased_until_s = leased_until_s
        self._alone = asyncio.Lock()
        self._app = app
        self._clock = clock or SystemClock()
        self._chance = chance
        self._max_payload_bytes = max_payload_bytes
        self._quarantine_s = quarantine_s
        self._liveness_s = liveness_s
        self._watch: asyncio.Task[None] | None = None
        self._hold_max_s = consumer_timeout_s / 2
        self._publish_timeout_s = publish_timeout_s
        target = Target(URL(url), app, heartbeat_s, tls_ca, tls_cert, tls_key)
        make = partial(Link, target=target, clock=self._clock, chance=chance, changed=self._changed)
        self._consume = make("consume")
        self._publish = make("publish")
        declaring = partial(Topology, app=app, exchange=exchange, declare=declare)
        self._topology = declaring(self._consume, memory=store)
        apart = partial(Link, target=target, clock=self._clock, chance=chance, changed=lambda: None)
        self._quarantine = Quarantine(partial(apart, "trial"), declaring)
        self._publisher = Publisher(self._publish, timeout_s=publish_timeout_s)
        operate = apart("operate")
        self._operator = self._operating(operate, declaring(operate, memory=store), declare)
        self._shelf = Shelf(
            store,
            self._clock,
            topology=self._topology,
            publisher=self._publisher,
            owner=owner,
            subscribers=lambda: {each.subscription.id: each.look for each in self._consumers if not each.cancelled},
        )
        self._consumers: dict[RabbitConsumer, None] = {}  # in the order in which they came
        self._roll = Roll()
        self._generations = (0, 0)
        self._sender = Sender(
            self._consume,
            self._publish,
            topology=self._topology,
            publisher=self._publisher,
            roll=self._roll,
            wanting=self._wanting,
            timeout_s=publish_timeout_s,
        )
        self._announced: bool | None = None
        self._closing = False

    @property
    def connected(self) -> bool:
        return self._consume.connected and self._publish.connected

    @property
    def unroutable(self) -> int:
        """How many events no queue was bound to."""
        return self._sender.unroutable

    @property
    def trouble(self) -> str:
        """Why it is not connected, in one sentence without secrets; empty if it is."""
        return "" if self.connected else self._consume.trouble or self._publish.trouble

    async def start(self) -> None:
        self._consume.start()
        self._publish.start()
        self._shelf.start()
        watching = watch(
            lambda: list(self._consumers),
            lambda subscriber: depth(self._consume, self._topology.queue(subscriber)),
            clock=self._clock,
            chance=self._chance,
            every_s=self._liveness_s,
        )
        self._watch = asyncio.create_task(watching, name="rabbitmq-liveness")

    async def aclose(self) -> None:
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._shelf.aclose()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.aclose())
            for consumer in list(self._consumers):
                group.create_task(consumer.aclose())
        async with asyncio.TaskGroup() as group:
            for link in (self._consume, self._publish, self._operator):
                group.create_task(link.aclose())

    async def send(self, message: Message) -> bool:
        return await self._sender.send(message)

    def expect(self, subscribers: Sequence[str]) -> None:
        self._roll.call(subscribers)
        self._sender.look_again()

    async def declare(self, subscriptions: Sequence[Subscription]) -> None:
        await in_time(self._consume.wait_up(), self._publish_timeout_s, lambda: self.trouble)
        for subscription in subscriptions:
            if trouble := await self._topology.prepare(subscription):
                _log.error("subscriber_out_of_service", subscriber=subscription.id, reason=trouble)

    async def taken_away(self) -> tuple[()]:
        """Return nothing: the broker tells nobody whether it has delivered to another what it took back."""
        return ()

    async def subscribe(self, subscription: Subscription, receive: Callable[[Delivery], None]) -> RabbitConsumer:
        def intake(emptied: Callable[[], None]) -> Intake:
            return Intake(
                subscription.id,
                receive,
                topology=self._topology,
                publisher=self._publisher,
                receipts=Receipts(
                    self._store, self._clock, app=self._app, subscriber=subscription.id, owner=self._owner
                ),
                shelf=self._shelf,
                alone=self._alone,
                clock=self._clock,
                chance=self._chance,
                turn=self._turn(subscription.id) if subscription.ordered else None,
                max_payload_bytes=self._max_payload_bytes,
                hold_max_s=self._hold_max_s,
                emptied=emptied,
            )

        consumer = RabbitConsumer(
            subscription,
            intake,
            link=self._consume,
            topology=self._topology,
            roll=self._roll,
            clock=self._clock,
            chance=self._chance,
            quarantine=self._quarantine,
            quarantine_s=self._quarantine_s,
        )
        self._consumers[consumer] = None
        self._shelf.look()
        self._sender.look_again()
        consumer.on_end(self._forget)
        self._roll.answer(subscription.id)  # the consumer itself is waited for from now on
        return consumer

    async def queues(self, subscribers: Sequence[str]) -> list[QueueState]:
        return await self._operator.queues(subscribers)

    async def plan(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        return await self._operator.plan(subscriptions, known)

    async def apply(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        return await self._operator.apply(subscriptions, known)

    async def dead_letters(self, subscriber: str, choice: Choice = EVERYTHING, *, limit: int) -> list[DeadLetter]:
        return await self._operator.dead_letters(subscriber, choice, limit=limit)

    async def replay(self, subscriber: str, choice: Choice = EVERYTHING, *, per_s: float = REPLAY_PER_S) -> int:
        return await self._operator.replay(subscriber, choice, per_s=per_s)

    async def discard(self, subscriber: str, choice: Choice = EVERYTHING) -> int:
        return await self._operator.discard(subscriber, choice)

    def _operating(self, link: Link, topology: Topology, declare: Declare) -> Operator:
        return Operator(
            link,
            topology=topology,
            publisher=self._publisher,
            store=self._store,
            declare=declare,
            clock=self._clock,
            reachable=lambda: self._consume.connected or self._publish.connected,
            timeout_s=self._publish_timeout_s,
        )

    def _turn(self, subscriber: str) -> Turn:
        return Turn(
            self._store,
            self._clock,
            app=self._app,
            subscriber=subscriber,
            owner=self._owner,
            leased_until_s=self._leased_until_s,
        )

    def _forget(self, consumer: RabbitConsumer) -> None:
        self._consumers.pop(consumer, None)

    def _wanting(self, name: str) -> list[Subscription]:
        return [consumer.subscription for consumer in self._consumers if consumer.wants(name)]

    def _changed(self) -> None:
        generations = self._consume.generation, self._publish.generation
        if generations != self._generations:
            if generations[0] != self._generations[0]:
                standing = [consumer for consumer in self._consumers if not consumer.cancelled]
                self._roll.call(standing)
                for consumer in standing:
                    consumer.wake()
            self._generations = generations
            self._topology.forget()
            self._operator.nudge()
            self._sender.look_again()
        for link, other in ((self._consume, self._publish), (self._publish, self._consume)):
            if link.connected and not other.connected:
                other.nudge()
        connected = self.connected
        if self._closing or connected is self._announced or (not connected and not self.trouble):
            return
        self._announced = connected
        if connected:
            _log.info("broker_connected", broker=self._consume.target.place)
        else:
            _log.warning("broker_lost", broker=self._consume.target.place, reason=self.trouble)
