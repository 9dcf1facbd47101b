"""Confirmed publishing: many callers share one channel and wait each for its own confirmation."""

import asyncio
from typing import Final

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import PublishError

from daemon.errors import BrokerUnavailableError
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.connection import REFUSALS, Link, call, close
from daemon.events.rabbitmq.frames import confirm_key
from daemon.events.rabbitmq.transport import Marshalled, underlay_of

_FRAME_OVERHEAD_BYTES: Final = 64


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
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        # The library tells by its id alone which message came back; two with one id must not be under way together.
        self._under_way: dict[str, asyncio.Future[None]] = {}

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
                    return await self._confirmed(exchange, routing_key, marshalled, body)
                finally:
                    del self._under_way[key]
                    mine.set_result(None)
        except TimeoutError as error:
            why = self._link.trouble or f"no confirmation within {self._timeout_s:g} s."
            raise BrokerUnavailableError(f"Whether RabbitMQ took {routing_key!r} is unknown: {why}") from error

    async def aclose(self) -> None:
        """Close the channel; what is not confirmed by now is unknown."""
        if self._channel is not None:
            await close(self._channel)
            self._channel = None

    async def _confirmed(self, exchange: str, routing_key: str, marshalled: Marshalled, body: bytes) -> bool:
        channel = await self._open()
        await self._link.unblocked()
        underlay = await underlay_of(channel)
        published = underlay.basic_publish(
            body, exchange=exchange, routing_key=routing_key, properties=marshalled, mandatory=True, wait=False
        )
        try:
            await call(published, f"confirm {routing_key!r}")
        except REFUSALS as error:
            # It closed the channel for everybody who waits on it; they hear that it is unknown, and try again.
            raise BrokerUnavailableError(f"RabbitMQ refused {routing_key!r}: {error}") from error
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, PublishError):
                return False
            raise
        return True

    async def _open(self) -> AbstractChannel:
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                await self._link.wait_up()
                self._channel = await self._link.channel(confirms=True)
            return self._channel
