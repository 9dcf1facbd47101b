"""The broker's frames on their way to the client library, which no message can break, and which is spared deliveries.

    socket --> FrameReader --+--> a channel's deliveries --> Lane --> whoever consumes there
                             +--> everything else, made harmless --> the library

The library decodes a message's properties and routing key as it reads them, and gives up the connection when it
cannot. So one message with a timestamp in the year 50,000 or a name that is not UTF-8 would take the connection from
every subscriber, and after each reconnect again. Here the properties are wrapped, undecoded, into a table with a
single entry of bytes, and a routing key that is not UTF-8 is made readable, before the library sees them.

For a delivery it takes three frames, two queues and a task, which costs more than all else that an event costs. So a
channel that is consumed from has a lane: its deliveries are put together here, and answered past the library, too.
Channels are opened, closed and asked things by the library alone.
"""

import asyncio
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, NamedTuple, SupportsIndex

import aiormq
from aiormq import spec

from daemon.events.rabbitmq.codec import MalformedError, Properties
from daemon.log import get_logger

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAME_END = 0xCE
_HEAD = Struct(">BHI")  # what a frame begins with: kind, channel, length; behind it and what it holds, one byte more
_AFTER_CONSUMER = Struct(">QBB")  # in a delivery: its tag, whether it is one again, how long the exchange's name is
_ANSWER = Struct(">BHIIQBB")
_ACK, _REJECT, _NACK = 0x003C0050, 0x003C005A, 0x003C0078
_REQUEUED = 2  # of a nack; a reject that is not requeued, and an ack of one delivery, have no bit set
_DELIVER = b"\x00\x3c\x00\x3c"
_CLOSES = (b"\x00\x14\x00\x28", b"\x00\x14\x00\x29")  # the broker's, and its answer to ours

# The library gives up a connection from which it hears nothing, and the broker beats only if it sends nothing else.
_BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_BEAT_EVERY_S = 1.0

_BUFFER_BYTES: Final = 2**18
_WRAPPED = "raw"
_HEADERS_FLAG, _ID_FLAG = 1 << 13, 1 << 7

# Methods that name an exchange and a routing key.
_CLASS_AND_METHOD = {_DELIVER: "deliver", b"\x00\x3c\x00\x47": "get-ok", b"\x00\x3c\x00\x32": "return"}
_BLOCKING = {b"\x00\x0a\x00\x3c": True, b"\x00\x0a\x00\x3d": False}  # of a connection

_log = get_logger(__name__)


class Delivered(NamedTuple):
    """A message as the broker delivered it: to which consumer's tag, and whether it says that it did so before."""

    consumer: bytes
    tag: int
    exchange: str
    routing_key: str
    again: bool
    properties: bytes
    body: bytes


Receive = Callable[["Lane", Delivered], None]


class Lane:
    """The deliveries of one channel, and the answers to them.

    Args:
        channel: The channel; everything else on it is the library's.
        writer: The connection's socket.
        receive: Takes deliveries over, in the loop's own callback; it must not raise, and does not wait.
    """

    def __init__(self, channel: aiormq.Channel, writer: asyncio.StreamWriter, receive: Receive) -> None:
        self._channel = channel
        self._number = channel.number
        self._writer = writer
        self._receive: Receive | None = receive
        self._closed = False
        self._tag = 0  # of the delivery that is being put together
        self._again = False
        self._consumer = self._exchange = self._key = self._properties = b""
        self._early: list[Delivered] | None = []
        self._left = 0  # how many bytes of its body are to come
        self._parts: list[bytes] = []

    @property
    def is_closed(self) -> bool:
        """Whether its deliveries are the broker's again."""
        return self._closed or self._channel.is_closed

    def ack(self, tag: int) -> bool:
        """Tell the broker that a delivery is done; return whether there is still somebody to tell."""
        return self._answer(_ACK, tag, 0)

    def requeue(self, tag: int) -> bool:
        """Give a delivery back, to be delivered again."""
        return self._answer(_NACK, tag, _REQUEUED)

    def reject(self, tag: int) -> bool:
        """Have the broker dead-letter a delivery."""
        return self._answer(_REJECT, tag, 0)

    def begin(self) -> None:
        """Hand on what comes, and what came before it was known that the broker lets us consume."""
        early, self._early = self._early or [], None
        for delivered in early:
            self._give(delivered)

    def end(self) -> None:
        """Take nothing over, and answer nothing, for the channel is to be closed: everything goes back with it.

        On an answer to a channel that it has closed meanwhile the broker closes the connection.
        """
        self._receive, self._closed = None, True

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take a frame if it belongs to a delivery; what the frame holds is `data[start:end]`."""
        if kind == _METHOD:
            if not data.startswith(_DELIVER, start):
                self._closed = self._closed or data.startswith(_CLOSES, start)
                return False
            at = start + 5 + data[start + 4]
            self._consumer = data[start + 5 : at]
            self._tag, again, length = _AFTER_CONSUMER.unpack_from(data, at)
            key_at = at + _AFTER_CONSUMER.size + length
            self._again = bool(again)
            self._exchange = data[key_at - length : key_at]
            self._key = data[key_at + 1 : key_at + 1 + data[key_at]]
            return True
        if not self._tag:
            return False
        if kind == _HEADER:
            self._left = int.from_bytes(data[start + 4 : start + 12])
            self._properties = data[start + 12 : end]
            self._parts.clear()
        elif kind == _BODY:
            self._left -= end - start
            self._parts.append(data[start:end])
        if self._left <= 0:
            self._hand_on()
        return True

    def _hand_on(self) -> None:
        tag, self._tag, parts = self._tag, 0, self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        origin = _text(self._exchange), _text(self._key)
        delivered = Delivered(self._consumer, tag, *origin, self._again, self._properties, body)
        if self._early is None:
            self._give(delivered)
        else:
            self._early.append(delivered)

    def _give(self, delivered: Delivered) -> None:
        try:
            if self._receive is not None:
                self._receive(self, delivered)
        except Exception:  # noqa: BLE001 - whatever it is, the others must not suffer
            _log.exception("delivery_not_taken", channel=self._number)

    def _answer(self, method: int, tag: int, bits: int) -> bool:
        if self.is_closed:
            return False
        self._writer.write(_ANSWER.pack(_METHOD, self._number, 13, method, tag, bits, _FRAME_END))
        return True


class FrameReader(asyncio.StreamReader):
    """Where the library reads from; it sees whole frames that it understands, and no delivery that has a lane.

    Args:
        with_id: Keep message ids: for connections that publish, on which messages come back.
    """

    def __init__(self, *, with_id: bool) -> None:
        self.is_blocked = False  # whether the broker has said that it takes no messages
        loop = asyncio.get_running_loop()
        super().__init__(limit=_BUFFER_BYTES, loop=loop)
        self._now_s = loop.time
        self._with_id = with_id
        self._lanes: dict[int, Lane] = {}
        self._rest = bytearray()  # the beginning of a frame
        self._wanted = 0  # how long that has to be before it is worth a look
        self._beaten_s = 0.0

    def open_lane(self, channel: aiormq.Channel, writer: asyncio.StreamWriter, receive: Receive) -> Lane:
        """Give what is delivered on a channel to `receive` from now on, until the channel is closed."""
        lane = self._lanes[channel.number] = Lane(channel, writer, receive)
        return lane

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what came, and pass on what is the library's."""
        came = bytes(data)
        if self._rest:
            self._rest += came
            if len(self._rest) < self._wanted:
                return
            came = bytes(self._rest)
            self._rest.clear()
        self._take(came)

    def _take(self, data: bytes) -> None:
        at, size = 0, len(data)
        self._wanted = _HEAD.size
        taken, theirs = False, bytearray()
        while size - at >= _HEAD.size:
            kind, number, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length + 1
            if kind > _HEARTBEAT:  # it does not speak our protocol: the library says what it thinks of that
                end = size
            if end > size:
                self._wanted = end - at
                break
            lane = self._lanes.get(number)
            if lane is not None and lane.take(kind, data, at + _HEAD.size, end - 1):
                taken = True
            else:
                if lane is not None and lane.is_closed:
                    del self._lanes[number]
                theirs += self._harmless(kind, data[at:end])
            at = end
        self._rest += data[at:]
        if taken and self._now_s() - self._beaten_s >= _BEAT_EVERY_S:
            self._beaten_s = self._now_s()
            theirs += _BEAT
        super().feed_data(theirs)

    def feed_eof(self) -> None:
        """Pass on that nothing more comes, and what had begun."""
        if self._rest:
            super().feed_data(bytes(self._rest))
            self._rest.clear()
        super().feed_eof()  # twice, if the broker ends the connection: by its end, and by its loss

    def _harmless(self, kind: int, frame: bytes) -> bytes:
        if kind == _HEADER:
            payload = self._wrapped(frame[7:-1])
        elif kind == _METHOD and (method := _CLASS_AND_METHOD.get(frame[7:11])):
            payload = _readable(frame[7:-1], method)
        else:
            if kind == _METHOD:
                self.is_blocked = _BLOCKING.get(frame[7:11], self.is_blocked)
            return frame
        return frame[:3] + len(payload).to_bytes(4) + payload + frame[-1:]

    def _wrapped(self, payload: bytes) -> bytes:
        raw = payload[12:]  # behind class, weight and the body's size
        try:
            properties = Properties.parse(raw) if self._with_id else Properties()
        except MalformedError:
            properties = Properties()
        return payload[:12] + wrapped(properties, raw=raw, with_id=self._with_id)


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
    exchange, key = (_text(payload[at + 1 : key_at]).encode(), _text(payload[key_at + 1 : end]).encode())
    return payload[: at + 1] + exchange + payload[key_at : key_at + 1] + key + payload[end:]


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return "".join([chr(byte) if byte < 128 else "?" for byte in name])  # noqa: PLR2004 - beyond ASCII
