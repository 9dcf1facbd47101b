"""A channel to publish on, which may be left for another."""

import asyncio

from aio_pika.abc import AbstractChannel

from daemon.errors import BrokerUnavailableError
from daemon.events.rabbitmq.connection import Link, close


class Way:
    """A channel that is opened when somebody wants it, and another one once it is left or closed.

    Attributes:
        failures: How often in a row something was not confirmed here.
        alone: Held by who publishes here, where that is done one at a time.

    Args:
        link: The connection; it is made anew if it opens no channel.
        timeout_s: How long that may take, and how long anybody waits for a confirmation.
    """

    def __init__(self, link: Link, timeout_s: float) -> None:
        self.failures = 0
        self.alone = asyncio.Lock()
        self._link = link
        self._timeout_s = timeout_s
        self._channel: AbstractChannel | None = None
        self._opening: asyncio.Task[None] | None = None

    async def channel(self) -> AbstractChannel:
        """Return the channel of the moment, once there is a connection.

        Raises:
            BrokerUnavailableError: The broker opens none.
        """
        while self._channel is None or self._channel.is_closed:
            await self._link.wait_up()
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="rabbitmq-open")
                self._opening.add_done_callback(self._opened)
            await asyncio.shield(self._opening)  # others wait for it, too
        return self._channel

    def leave(self, channel: AbstractChannel) -> None:
        """Use another channel from now on; this one is closed when nobody can be waiting on it any more."""
        if self._channel is channel:
            self._channel = None
            self._link.retire(channel, after_s=self._timeout_s)

    async def aclose(self) -> None:
        """Close the channel."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._channel is not None:
            await close(self._channel)
            self._channel = None

    async def _open(self) -> None:
        generation = self._link.generation
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._link.unblocked()
                self._channel = await self._link.channel(confirms=True)
        except TimeoutError as error:
            why = self._link.blocked
            if not why:
                why = f"it opened no channel within {self._timeout_s:g} s"
                self._link.drop(generation, why)
            raise BrokerUnavailableError(f"RabbitMQ does not take messages: {why}") from error

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # it was told to those who still waited
