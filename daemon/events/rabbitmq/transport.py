"""What lies between the socket and the client library: frames that no message can break.

The library decodes a message's properties and routing key as it reads them, and gives up the connection when it
cannot. So one message with a timestamp in the year 50,000 or a name that is not UTF-8 would take the connection from
every subscriber, and after each reconnect again. Here the properties are wrapped, undecoded, into a table with a
single entry of bytes, and a routing key that is not UTF-8 is made readable, before the library sees them.
"""

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

from daemon.events.rabbitmq.codec import MalformedError, Properties

_METHOD, _HEADER = 1, 2
_BUFFER_BYTES: Final = 2**18
FRAMES_IN_A_TURN: Final = 128  # a message is three, or more
FRAMES_WAITING: Final = 1_024  # to be written; where there is no room, each message would take a turn of the loop
_WRAPPED = "raw"
_HEADERS_FLAG, _ID_FLAG = 1 << 13, 1 << 7

# Methods that name an exchange and a routing key, and where in the frame these begin; None: after the consumer tag.
_CLASS_AND_METHOD = {
    b"\x00\x3c\x00\x3c": "deliver",
    b"\x00\x3c\x00\x47": "get-ok",
    b"\x00\x3c\x00\x32": "return",
}


def wrapped(properties: Properties, *, raw: bytes, with_id: bool) -> bytes:
    """Return properties that the library understands, with `raw` in them; and an id that is text if it needs one."""
    table = bytes((len(_WRAPPED),)) + _WRAPPED.encode() + b"x" + len(raw).to_bytes(4) + raw
    headers = len(table).to_bytes(4) + table
    if not with_id:
        return _HEADERS_FLAG.to_bytes(2) + headers
    identity = confirm_key(properties).encode()
    return (_HEADERS_FLAG | _ID_FLAG).to_bytes(2) + headers + bytes((len(identity),)) + identity


def unwrapped(properties: spec.Basic.Properties) -> bytes:
    """Return the properties as the publisher sent them."""
    raw = (properties.headers or {}).get(_WRAPPED)
    return bytes(raw) if isinstance(raw, bytearray) else b"\x00\x00"


def confirm_key(properties: Properties) -> str:
    """Return the text by which the library recognises a message of ours that comes back."""
    identity = properties.fields.get("message_id", b"")
    try:
        return identity.decode() or "none"
    except UnicodeDecodeError:
        return identity.hex()[:200]


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


class FrameReader(asyncio.StreamReader):
    """Reads what the library asks for: of each frame one byte (its type), then six (channel, length), then the rest."""

    def __init__(self, *, with_id: bool) -> None:
        super().__init__(limit=_BUFFER_BYTES, loop=asyncio.get_running_loop())
        self._with_id = with_id
        self._kind = 0
        self._rest: bytes | None = None

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes of the frame, made harmless."""
        if self._rest is not None:
            rest, self._rest = self._rest, None
            return rest
        data = await super().readexactly(n)
        if n == 1:
            self._kind = data[0]
        elif n == 6 and self._kind in (_METHOD, _HEADER):  # noqa: PLR2004 - channel and length
            payload = await super().readexactly(int.from_bytes(data[2:]) + 1)
            safe = self._safe(payload[:-1])
            self._rest = safe + payload[-1:]
            return data[:2] + len(safe).to_bytes(4)
        return data

    def _safe(self, payload: bytes) -> bytes:
        if self._kind == _HEADER:
            raw = payload[12:]  # behind class, weight and the body's size
            try:
                properties = Properties.parse(raw) if self._with_id else Properties()
            except MalformedError:
                properties = Properties()
            return payload[:12] + wrapped(properties, raw=raw, with_id=self._with_id)
        method = _CLASS_AND_METHOD.get(payload[:4])
        return payload if method is None else _readable(payload, method)


def _readable(payload: bytes, method: str) -> bytes:
    """Return a method's frame with question marks for the bytes of its exchange and routing key that are not UTF-8."""
    if method == "deliver":
        at = 4 + 1 + payload[4] + 9  # the consumer tag, the delivery tag and a flag
    elif method == "get-ok":
        at = 4 + 9
    else:
        at = 4 + 2 + 1 + payload[6]  # a code and its text
    key_at = at + 1 + payload[at]
    end = key_at + 1 + payload[key_at]
    try:
        payload[at + 1 : key_at].decode()
        payload[key_at + 1 : end].decode()
    except UnicodeDecodeError:
        plain = bytes(byte if byte < 128 else ord("?") for byte in payload[at:end])  # noqa: PLR2004 - beyond ASCII
        plain = payload[at : at + 1] + plain[1 : key_at - at] + payload[key_at : key_at + 1] + plain[key_at + 1 - at :]
        return payload[:at] + plain + payload[end:]
    return payload


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
        reader = FrameReader(with_id=self._with_id)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _protocol = await loop.create_connection(
            lambda: protocol, url.host or "", url.port or 0, ssl=self._tls
        )
        return reader, TurnWriter(transport, protocol, reader, loop)


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
        self.kwargs["transport_factory"] = transport

    async def connect(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's own signature
        """Connect; what could not be connected is closed."""
        underlay = _Underlay(self.url, **self.kwargs)
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


class _Underlay(aiormq.Connection):
    FRAME_BUFFER_SIZE = FRAMES_WAITING

    @cached_property
    def closing(self) -> asyncio.Future[Any]:
        """Its end: one future for all who ask, so that a channel can stop to wait for it."""
        return super().closing

    async def channel(self, *args: Any, **options: Any) -> aiormq.abc.AbstractChannel:
        """Open a channel which takes more than three messages in one turn of the loop."""
        return await super().channel(*args, **{"frame_buffer_size": FRAMES_IN_A_TURN, **options})
