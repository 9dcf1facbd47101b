"""What the broker has to have: its names, its arguments, and how it is brought about.

    publisher -> exchange (topic) -> {app}.{subscriber} -> us
                                        |         ^
                              gave up   |         |  after a while, by its routing key
                                        v         |
                     {app}.{subscriber}.dead    {app}.wait.{ms}

What is missing is declared, nothing is ever deleted or changed. A queue that is there with other arguments is bound all
the same, so that its events are not lost meanwhile; its subscriber is out of service until somebody decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, Protocol

from aio_pika import ExchangeType, exceptions
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from daemon.events.bus import Subscription
from daemon.events.rabbitmq.connection import REFUSALS, Link, call

Declare = Literal["missing", "never"]
Arguments = dict[str, str | int | bool]

TIERS_MS = (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000)
SHARE = 0.75  # of a wait queue's time, that whatever waits there waits for
DELIVERY_LIMIT = 100  # a backstop; retries are counted by ourselves
LOOKING_LIMIT = 1_000_000  # looking at a dead letter counts as a delivery of it


class BindingMemory(Protocol):
    """Remembers what our queues were bound to: AMQP cannot be asked."""

    async def bindings(self, app: str) -> list[tuple[str, str]]:
        """Return (subscriber, pattern) of every queue."""

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        """Make these exactly the patterns that a queue is bound to."""


def tier_ms(delay_ms: int) -> int | None:
    """Return the smallest wait that is at least the delay; None if that is longer by more than a third.

    What waits in a queue goes when everything before it has gone: nothing is late there by more than a quarter of the
    queue's wait, since nothing in it waits for less than three quarters of that.
    """
    tier = next((tier for tier in TIERS_MS if tier >= delay_ms), None)
    return tier if tier is not None and delay_ms >= SHARE * tier else None


def queue_arguments(dead: str, *, ordered: bool) -> Arguments:
    """Return the arguments of a subscriber's queue: what it gives up goes to `dead`, or stays until it can."""
    arguments: Arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # without it the broker silently falls back to at most once
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    return arguments | {"x-single-active-consumer": True} if ordered else arguments


def wait_arguments(milliseconds: int) -> Arguments:
    """Return the arguments of a wait queue: what expires goes where its routing key says, a subscriber's queue."""
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": milliseconds,
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


DEAD_ARGUMENTS: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": LOOKING_LIMIT}


class Topology:
    """Declares on scratch channels of one connection.

    Args:
        link: The connection; whatever was found there is forgotten when it is made anew.
        app: Prefix of every queue.
        exchange: Where events are published.
        declare: `never` looks only, and says what is missing.
        memory: What queues were bound to; None remembers nothing, and unbinds nothing.
    """

    def __init__(
        self, link: Link, *, app: str, exchange: str, declare: Declare, memory: BindingMemory | None = None
    ) -> None:
        self.app = app
        self.exchange = exchange
        self._link = link
        self._declare = declare
        self._memory = memory
        self._remembered: dict[str, set[str]] | None = None
        self._remembering = asyncio.Lock()
        self._known: dict[str, asyncio.Task[str]] = {}
        self._generation = 0

    def queue(self, subscriber: str) -> str:
        """Return the name of a subscriber's queue."""
        return f"{self.app}.{subscriber}"

    def dead(self, subscriber: str) -> str:
        """Return the name of the queue of its dead letters."""
        return f"{self.app}.{subscriber}.dead"

    def tier(self, milliseconds: int) -> str:
        """Return the name of a shared wait queue, and of its exchange."""
        return f"{self.app}.wait.{milliseconds}"

    async def prepare(self, subscription: Subscription) -> str:
        """Bring about everything that a subscriber needs; return why it is out of service, or an empty text.

        Raises:
            BrokerUnavailableError: The broker went away meanwhile.
        """
        dead = self.dead(subscription.id)
        queue = self.queue(subscription.id)
        troubles = [
            await self.prepare_exchange(),
            await self._prepare_queue(dead, DEAD_ARGUMENTS),
            await self._prepare_queue(queue, queue_arguments(dead, ordered=subscription.ordered)),
        ]
        if self._declare == "missing":
            troubles.append(await self._bind(subscription, queue))
        return " ".join(trouble for trouble in troubles if trouble)

    async def prepare_exchange(self) -> str:
        """Make sure that events can be published; once a connection."""
        return await self._once(self.exchange, self._exchange)

    async def prepare_tier(self, milliseconds: int) -> str:
        """Make sure that a wait queue is there; once a connection."""
        return await self._once(self.tier(milliseconds), lambda: self._tier(milliseconds))

    async def prepare_dead(self, subscriber: str) -> str:
        """Make sure that dead letters have their queue."""
        return await self._prepare_queue(self.dead(subscriber), DEAD_ARGUMENTS)

    def forget(self) -> None:
        """Look again before the next use: something was not there that should have been, or others were at it."""
        self._known.clear()
        self._remembered = None

    async def _once(self, name: str, prepare: Callable[[], Awaitable[str]]) -> str:
        if self._generation != self._link.generation:
            self._generation = self._link.generation
            self._known.clear()

        async def prepared() -> str:
            return await prepare()

        known = self._known.get(name)
        if known is None or (known.done() and (known.cancelled() or known.exception() or known.result())):
            known = self._known[name] = asyncio.create_task(prepared())
            known.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # also when nobody waits any more
        return await asyncio.shield(known)  # others wait for it too

    async def _exchange(self) -> str:
        name = self.exchange
        if self._declare == "missing":
            trouble = await self._refused(
                lambda channel: channel.declare_exchange(name, ExchangeType.TOPIC, durable=True),
                f"declare the exchange {name!r}",
            )
            if not trouble:
                return ""
            if "'type'" in trouble:
                return f"The exchange {name!r} is no topic exchange; name another one in broker.exchange. ({trouble})"
        # It may belong to somebody else and be configured differently: whatever it is, it can be published to.
        return await self._refused(lambda channel: channel.get_exchange(name), f"find the exchange {name!r}")

    async def _tier(self, milliseconds: int) -> str:
        name = self.tier(milliseconds)
        if self._declare == "never":
            return await self._refused(lambda channel: channel.get_exchange(name), f"find the exchange {name!r}")
        exchange = await self._refused(
            lambda channel: channel.declare_exchange(name, ExchangeType.FANOUT, durable=True),
            f"declare the exchange {name!r}",
        )
        queue = await self._prepare_queue(name, wait_arguments(milliseconds))
        bound = await self._refused(partial(_bind, queue=name, exchange=name, key=""), f"bind the queue {name!r}")
        return " ".join(trouble for trouble in (exchange, queue, bound) if trouble)

    async def _prepare_queue(self, name: str, arguments: Arguments) -> str:
        def find(channel: AbstractChannel) -> Awaitable[object]:
            return channel.get_queue(name)

        def declare(channel: AbstractChannel) -> Awaitable[object]:
            return channel.declare_queue(name, durable=True, arguments=dict(arguments))

        if self._declare == "never":
            return await self._refused(find, f"find the queue {name!r}")
        trouble = await self._refused(declare, f"declare the queue {name!r}")
        if trouble.startswith("ACCESS_REFUSED") and not await self._refused(find, f"find the queue {name!r}"):
            return ""  # we may not declare, but somebody did
        return trouble

    async def _bind(self, subscription: Subscription, queue: str) -> str:
        """Bind what is wanted, then unbind what is not any more; only what is done is remembered."""
        bound = await self._bound(subscription.id)
        for pattern in subscription.patterns:
            bind = partial(_bind, queue=queue, exchange=self.exchange, key=pattern)
            if trouble := await self._refused(bind, f"bind the queue {queue!r} to {pattern!r}"):
                return trouble
        wanted = set(subscription.patterns)
        await self._remember(subscription.id, bound | wanted)
        for pattern in sorted(bound - wanted):
            unbind = partial(_unbind, queue=queue, exchange=self.exchange, key=pattern)
            if not await self._refused(unbind, f"unbind the queue {queue!r} from {pattern!r}"):
                bound.discard(pattern)
        await self._remember(subscription.id, bound | wanted)
        return ""

    async def _bound(self, subscriber: str) -> set[str]:
        async with self._remembering:
            if self._remembered is None:
                remembered: dict[str, set[str]] = {}
                for queue, pattern in await self._memory.bindings(self.app) if self._memory else ():
                    remembered.setdefault(queue, set()).add(pattern)
                self._remembered = remembered
            return set(self._remembered.get(subscriber, ()))

    async def _remember(self, subscriber: str, patterns: set[str]) -> None:
        if self._memory is not None and patterns != await self._bound(subscriber):
            await self._memory.bind(self.app, subscriber, sorted(patterns))
            if self._remembered is not None:
                self._remembered[subscriber] = patterns

    async def _refused(self, operation: Callable[[AbstractChannel], Awaitable[object]], what: str) -> str:
        """Do something on a scratch channel; return what the broker has against it, or an empty text."""
        try:
            async with self._link.scratch() as channel:
                await call(operation(channel), what)
        except REFUSALS as error:
            return explained(error, what)
        return ""


async def _bind(channel: AbstractChannel, *, queue: str, exchange: str, key: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)


async def _unbind(channel: AbstractChannel, *, queue: str, exchange: str, key: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).unbind(exchange, key)


def explained(error: exceptions.AMQPError, what: str) -> str:
    """Return what the broker said, with what to do about it."""
    said = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, exceptions.ChannelPreconditionFailed):
        return f"{said}. It is left as it is: delete it once it is empty, and it is declared as it should be."
    if isinstance(error, exceptions.ChannelNotFoundEntity):
        return f"{said}: could not {what}. Declare it, or set broker.declare to 'missing'."
    if isinstance(error, ChannelAccessRefused):
        return f"{said}: may not {what}. Grant it, or set broker.declare to 'never'."
    return f"{said}: could not {what}."
