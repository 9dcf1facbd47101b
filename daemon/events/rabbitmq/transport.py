"""The connection as the client library has it, on a socket of ours; what it reads there is in `frames`."""

import asyncio
import ssl
from functools import cached_property
from typing import Any, Final, cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, UnderlayConnection
from aio_pika.tools import OneShotCallback
from aiormq import TransportFactory, spec
from yarl import URL

from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.frames import FrameReader, Lane, Receive, confirm_key

FRAMES_IN_A_TURN: Final = 128  # a message is three, or more
FRAMES_WAITING: Final = 1_024  # to be written; where there is no room, each message would take a turn of the loop


class Marshalled(spec.Basic.Properties):
    """Properties that are bytes already."""

    def __init__(self, properties: Properties) -> None:
        super().__init__(message_id=confirm_key(properties))
        self._raw = properties.marshal()

    def __len__(self) -> int:
        return len(self._raw)

    def marshal(self) -> bytes:
        """Return them as they are."""
        return self._raw


class TurnWriter(asyncio.StreamWriter):
    """Sends at once what is written in one turn of the loop: acknowledgements are small, and many."""

    _turn: bytearray | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it with what else is written until the loop turns."""
        if self._turn is None:
            self._turn = bytearray()
            asyncio.get_running_loop().call_soon(self._flush)
        self._turn += data

    async def drain(self) -> None:
        """Send it now, and wait while the socket takes no more."""
        self._flush()
        await super().drain()

    def _flush(self) -> None:
        turn, self._turn = self._turn, None
        if turn and not self.is_closing():
            super().write(turn)


class SafeTransport(TransportFactory):
    """Opens the socket, with TLS where a context is given.

    Args:
        tls: What to verify and to present; None is plain TCP.
        with_id: Keep message ids: for connections that publish, on which messages come back.
    """

    def __init__(self, tls: ssl.SSLContext | None, *, with_id: bool) -> None:
        self._tls = tls
        self._with_id = with_id

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, and return both directions."""
        loop = asyncio.get_running_loop()
        self._reader = reader = FrameReader(with_id=self._with_id)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _protocol = await loop.create_connection(
            lambda: protocol, url.host or "", url.port or 0, ssl=self._tls
        )
        self._writer = TurnWriter(transport, protocol, reader, loop)
        return reader, self._writer

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages."""
        return self._reader.is_blocked

    def abort(self) -> None:
        """Close the socket, without a word."""
        self._writer.transport.abort()

    def open_lane(self, channel: aiormq.Channel, receive: Receive) -> Lane:
        """Lead what is delivered on a channel of this connection past the library, until the channel is closed."""
        return self._reader.open_lane(channel, self._writer, receive)


class SafeChannel(aio_pika.Channel):
    """A channel that its connection forgets when it ends."""

    async def _on_close(self, closing: asyncio.Future[Any]) -> BaseException | None:
        if self._channel is not None:  # which aio-pika does itself only if the broker has not closed it
            connection = self._channel.channel.connection
            connection.closing.remove_done_callback(self._channel.close_callback)
        return await super()._on_close(closing)


class SafeConnection(aio_pika.Connection):
    """A plain connection of aio-pika's, which restores nothing by itself, on a socket of ours.

    Args:
        url: Where to, with the library's own options as its query.
        transport: Opens the socket.
    """

    CHANNEL_CLASS = SafeChannel

    def __init__(self, url: URL, transport: SafeTransport) -> None:
        super().__init__(url, client_properties={"product": "sagad"})
        self._socket = self.kwargs["transport_factory"] = transport

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages."""
        return self._socket.is_blocked

    def abort(self) -> None:
        """Lose the connection, without a word to the broker, which may not hear it."""
        self._socket.abort()

    async def connect(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's own signature
        """Connect; what could not be connected is closed."""
        underlay = _Underlay(self.url, **self.kwargs)
        underlay.socket = self._socket
        closed = OneShotCallback(self._on_connection_close)
        try:
            async with asyncio.timeout(timeout):
                await underlay.connect()
        except BaseException:
            if underlay.is_opened:  # it had just succeeded when this was cancelled
                await underlay.close()
            await self.close()
            raise
        underlay.closing.add_done_callback(closed)
        self.transport = UnderlayConnection(underlay, closed)
        await self._on_connected()


async def underlay_of(channel: AbstractChannel) -> aiormq.Channel:
    """Return what aio-pika's channel stands on, for the paths of messages.

    aio-pika's own consume starts one more task for each delivery, which ends with the channel; its messages decode
    and encode properties, which loses or breaks what others put there; its acknowledging and publishing wait for the
    socket each time, which makes publishing from many tasks cost a third more.
    """
    return cast("aiormq.Channel", await channel.get_underlay_channel())


def lane_of(channel: aiormq.Channel, receive: Receive) -> Lane:
    """Lead what is delivered on a channel past the library."""
    return cast("_Underlay", channel.connection).socket.open_lane(channel, receive)


class _Underlay(aiormq.Connection):
    FRAME_BUFFER_SIZE = FRAMES_WAITING
    socket: SafeTransport

    @cached_property
    def closing(self) -> asyncio.Future[Any]:
        """Its end: one future for all who ask, so that a channel can stop to wait for it."""
        return super().closing

    async def channel(self, *args: Any, **options: Any) -> aiormq.abc.AbstractChannel:
        """Open a channel which takes more than three messages in one turn of the loop."""
        return await super().channel(*args, **{"frame_buffer_size": FRAMES_IN_A_TURN, **options})
