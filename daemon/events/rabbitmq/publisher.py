"""Confirmed publishing: many callers share one channel and wait each for its own confirmation.

RabbitMQ handles what a channel publishes in its order, and what is first sent to a quorum queue that does not answer
holds up the channel for half a minute, a message: a queue without its majority would take publishing from all others.
So whatever is not confirmed in time costs its channel, on which the broker may be stuck, and goes by a channel of its
own from then on, one message at a time, until it is confirmed there. Where the broker does not even open a channel,
because it waits with too much on another one, the connection is made anew.

    shared channel -- not confirmed in time --> apart, on a channel of its own -- confirmed --> shared channel
                                                     |     ^
                                                     +-----+ not confirmed: the next one
"""

import asyncio
from typing import Final

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError

from daemon.errors import BrokerUnavailableError
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.connection import REFUSALS, Link, call
from daemon.events.rabbitmq.frames import confirm_key
from daemon.events.rabbitmq.transport import Marshalled, underlay_of
from daemon.events.rabbitmq.way import Way
from daemon.log import get_logger

APART_MAX: Final = 32
_FRAME_OVERHEAD_BYTES: Final = 64
_SILENT = (
    "RabbitMQ does not answer for a queue that this goes to, which may have lost its majority: see `rabbitmqctl "
    "list_queues name state`. It stays where it is, and is tried again."
)

_log = get_logger(__name__)
Target = tuple[str, str]  # an exchange, and a routing key


class HeadersTooLargeError(Exception):
    """The properties do not fit into a frame; the broker would close the connection."""


class Publisher:
    """Publishes on one connection, mandatory and confirmed.

    Args:
        link: The connection.
        timeout_s: How long a message may take altogether: to wait for the connection, to be taken, to be confirmed.
    """

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._shared = Way(link, timeout_s)
        self._apart: dict[Target, Way] = {}
        # The library tells by its id alone which message came back; two with one id must not be under way together.
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._is_blocked = False  # as far as it was told

    async def publish(self, exchange: str, routing_key: str, properties: Properties, body: bytes) -> bool:
        """Publish; return whether any queue took it, once it is durable there.

        Raises:
            BrokerUnavailableError: Whether it was taken is unknown.
            HeadersTooLargeError: The properties do not fit into a frame.
        """
        marshalled = Marshalled(properties)
        if len(marshalled) > self._link.frame_max - _FRAME_OVERHEAD_BYTES:
            raise HeadersTooLargeError(f"{len(marshalled):,} bytes of properties")
        key = confirm_key(properties)
        try:
            async with asyncio.timeout(self._timeout_s):
                while (other := self._under_way.get(key)) is not None:
                    await asyncio.wait({other})
                mine = self._under_way[key] = asyncio.get_running_loop().create_future()
                try:
                    return await self._confirmed((exchange, routing_key), marshalled, body)
                finally:
                    del self._under_way[key]
                    mine.set_result(None)
        except TimeoutError as error:
            why = self._link.trouble or self._link.blocked or f"no confirmation within {self._timeout_s:g} s."
            if self._link.blocked and not self._is_blocked:
                self._is_blocked = True
                _log.warning("broker_blocked", reason=f"RabbitMQ takes no events: {why}")
            raise BrokerUnavailableError(f"Whether RabbitMQ took {routing_key!r} is unknown: {why}") from error

    async def aclose(self) -> None:
        """Close the channels; what is not confirmed by now is unknown."""
        async with asyncio.TaskGroup() as group:
            for way in (self._shared, *self._apart.values()):
                group.create_task(way.aclose())

    async def _confirmed(self, target: Target, marshalled: Marshalled, body: bytes) -> bool:
        while (apart := self._apart.get(target)) is not None:
            async with apart.alone:
                if self._apart.get(target) is apart:
                    return await self._confirmed_by(apart, target, marshalled, body)
        return await self._confirmed_by(self._shared, target, marshalled, body)

    async def _confirmed_by(self, way: Way, target: Target, marshalled: Marshalled, body: bytes) -> bool:
        exchange, routing_key = target
        channel = await way.channel()
        await self._link.unblocked()
        underlay = await underlay_of(channel)
        published = underlay.basic_publish(
            body, exchange=exchange, routing_key=routing_key, properties=marshalled, mandatory=True, wait=False
        )
        now_s = asyncio.get_running_loop().time
        since_s = now_s()
        try:
            await call(published, f"confirm {routing_key!r}")
        except asyncio.CancelledError:
            if now_s() - since_s >= self._timeout_s / 2 and not self._link.blocked:
                self._doubt(target, way, channel)
            raise
        except REFUSALS as error:
            # It closed the channel for everybody who waits on it; they hear that it is unknown, and try again.
            raise BrokerUnavailableError(f"RabbitMQ refused {routing_key!r}: {error}") from error
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, DeliveryError):
                self._trust(target, way, channel)
            if isinstance(error.__cause__, PublishError):
                return False
            raise
        self._trust(target, way, channel)
        return True

    def _doubt(self, target: Target, way: Way, channel: AbstractChannel) -> None:
        """Publish nothing more on a channel that does not answer, and what it was asked for apart from all others."""
        way.leave(channel)
        if way is self._shared:
            self._set_apart(target)
        elif self._apart.get(target) is way:
            way.failures += 1
            if way.failures == 1:
                _log.warning("publish_unconfirmed", exchange=target[0], routing_key=target[1], reason=_SILENT)

    def _set_apart(self, target: Target) -> None:
        if target in self._apart:
            return
        untried = (each for each, way in self._apart.items() if not way.failures and not way.alone.locked())
        if len(self._apart) == APART_MAX and (oldest := next(untried, None)) is not None:
            del self._apart[oldest]  # it may only have been held up by another, and nobody wanted it since
        if len(self._apart) < APART_MAX:
            self._apart[target] = Way(self._link, self._timeout_s)

    def _trust(self, target: Target, way: Way, channel: AbstractChannel) -> None:
        """Publish among all others again what the broker answers."""
        if self._is_blocked:
            self._is_blocked = False
            _log.info("broker_unblocked")
        if way is not self._shared and self._apart.get(target) is way:
            del self._apart[target]
            way.leave(channel)
            if way.failures:
                _log.info("publish_confirmed_again", exchange=target[0], routing_key=target[1])
