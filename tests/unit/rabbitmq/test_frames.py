import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.frames import Delivered, FrameReader, Lane
from daemon.log import captured_log

LANE, OTHER = 3, 4
BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
CLOSE_OK = b"\x00\x14\x00\x29"


class Channel:
    """A channel as far as a lane asks for it."""

    is_closed = False

    def __init__(self, number: int) -> None:
        self.number = number


class Writer:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        """Write."""
        self.written += data


class Line:
    """A reader with a lane, and what came of it."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.taken: list[Delivered] = []
        self.reader = FrameReader(with_id=False)
        channel, writer = cast("Any", Channel(LANE)), cast("Any", self.writer)
        self.lane = self.reader.open_lane(channel, writer, self.take)

    def take(self, _: Lane, delivered: Delivered) -> None:
        """Take a delivery over."""
        self.taken.append(delivered)

    def begin(self) -> "Line":
        """Have the lane hand on."""
        self.lane.begin()
        return self

    def feed(self, stream: bytes, *cuts: int) -> None:
        """Have it come in pieces."""
        for begin, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(stream)), strict=True):
            self.reader.feed_data(stream[begin:end])

    def told(self) -> bytes:
        """Return what the library reads, without the beats."""
        return bytes(self.reader._buffer).replace(BEAT, b"")  # type: ignore[attr-defined]


def frame(kind: int, payload: bytes, channel: int = LANE) -> bytes:
    return bytes((kind,)) + channel.to_bytes(2) + len(payload).to_bytes(4) + payload + b"\xce"


def short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def message(tag: int, *parts: bytes, key: bytes = b"order.placed", again: bool = False, channel: int = LANE) -> bytes:
    """Return the frames of a delivery whose body comes in these parts."""
    deliver = b"\x00\x3c\x00\x3c" + short(b"consumer") + tag.to_bytes(8) + bytes((again,)) + short(b"shop") + short(key)
    header = b"\x00\x3c\x00\x00" + sum(map(len, parts)).to_bytes(8) + PROPERTIES
    bodies = [frame(3, part, channel) for part in parts]
    return frame(1, deliver, channel) + frame(2, header, channel) + b"".join(bodies)


PROPERTIES = Properties({"message_id": b"e1"}).marshal()
NEXT = frame(1, b"\x00\x3c\x00\x50" + bytes(9), OTHER)  # what is the library's: another channel's confirmation


async def test_a_delivery_is_put_together_and_the_library_does_not_see_it() -> None:
    line = Line().begin()

    line.feed(message(1, b"{", b"}") + NEXT + message(2, again=True))

    assert line.taken == [
        Delivered(b"consumer", 1, "shop", "order.placed", again=False, properties=PROPERTIES, body=b"{}"),
        Delivered(b"consumer", 2, "shop", "order.placed", again=True, properties=PROPERTIES, body=b""),
    ]
    assert line.told() == NEXT


STREAM = message(1, b"{}") + NEXT + message(2, b"a" * 40, b"b" * 40) + BEAT + message(3) + NEXT


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=30))
async def test_it_does_not_matter_in_what_pieces_frames_come(cuts: set[int]) -> None:
    line = Line().begin()

    line.feed(STREAM, *cuts)

    assert [(each.tag, len(each.body)) for each in line.taken] == [(1, 2), (2, 80), (3, 0)]
    assert line.told() == NEXT + NEXT


async def test_frames_of_two_channels_may_alternate() -> None:
    line = Line().begin()
    method, header, body = (message(1, b"{}")[at:end] for at, end in SLICES)

    line.feed(method + NEXT + header + NEXT + body)

    assert [each.body for each in line.taken] == [b"{}"]
    assert line.told() == NEXT + NEXT


def _slices() -> list[tuple[int, int]]:
    at, found, whole = 0, [], message(1, b"{}")
    while at < len(whole):
        end = at + 8 + int.from_bytes(whole[at + 3 : at + 7])
        found.append((at, end))
        at = end
    return found


SLICES = _slices()


async def test_what_comes_before_the_broker_lets_us_consume_is_handed_on_then() -> None:
    line = Line()
    line.feed(message(1, b"1") + message(2, b"2"))
    early = [*line.taken]

    line.begin()
    line.feed(message(3, b"3"))

    assert early == []
    assert [each.tag for each in line.taken] == [1, 2, 3]


async def test_a_lane_that_has_ended_drops_what_comes_and_answers_nothing() -> None:
    line = Line().begin()

    line.lane.end()
    line.feed(message(1, b"{}"))

    assert (line.taken, line.told()) == ([], b"")
    assert not line.lane.ack(1)


async def test_a_name_that_is_no_text_is_made_readable() -> None:
    line = Line().begin()

    line.feed(message(1, b"{}", key=b"caf\xe9") + message(1, b"{}", key=b"caf\xe9", channel=OTHER))

    assert [each.routing_key for each in line.taken] == ["caf?"]
    assert b"caf?" in line.told()


async def test_answers_are_one_frame_each() -> None:
    line = Line().begin()

    answered = line.lane.ack(1), line.lane.requeue(2), line.lane.reject(3)

    assert answered == (True, True, True)
    written = [(b"\x00\x3c\x00\x50", 1, b"\x00"), (b"\x00\x3c\x00\x78", 2, b"\x02"), (b"\x00\x3c\x00\x5a", 3, b"\x00")]
    assert line.writer.written == b"".join(frame(1, what + tag.to_bytes(8) + bits) for what, tag, bits in written)


@pytest.mark.parametrize("method", [b"\x00\x14\x00\x28", CLOSE_OK], ids=["close", "close-ok"])
async def test_nothing_is_answered_on_a_channel_from_the_moment_that_it_is_closed(method: bytes) -> None:
    """Its number may be another channel's, on which the tag would be another delivery's, or an error."""
    line = Line().begin()
    closing = frame(1, method + bytes(7))

    line.feed(closing + message(1, b"{}"))

    assert not line.lane.ack(1)
    assert line.writer.written == b""
    assert line.taken == []
    assert line.told().startswith(closing)


async def test_the_library_hears_that_the_broker_lives_while_it_sends_nothing_but_deliveries() -> None:
    line = Line().begin()

    line.feed(message(1, b"{}"))
    line.feed(message(2, b"{}"))

    assert bytes(line.reader._buffer) == BEAT  # type: ignore[attr-defined]


async def test_a_delivery_that_nobody_can_take_costs_no_other() -> None:
    line = Line().begin()
    taken: list[int] = []

    def take(_: Lane, delivered: Delivered) -> None:
        if delivered.tag == 1:
            raise ValueError
        taken.append(delivered.tag)

    channel, writer = cast("Any", Channel(OTHER)), cast("Any", line.writer)
    line.reader.open_lane(channel, writer, take).begin()
    with captured_log() as log:
        line.feed(message(1, b"{}", channel=OTHER) + message(2, b"{}", channel=OTHER))

    assert taken == [2]
    assert [entry["event"] for entry in log] == ["delivery_not_taken"]


async def test_the_library_judges_what_does_not_speak_the_protocol() -> None:
    line = Line().begin()

    line.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert line.told() == b"HTTP/1.1 400 Bad Request\r\n\r\n"


async def test_the_end_passes_on_what_had_begun_and_may_be_told_twice() -> None:
    line = Line().begin()
    line.feed(NEXT[:-3])

    line.reader.feed_eof()
    line.reader.feed_eof()

    assert line.told() == NEXT[:-3]
    with pytest.raises(asyncio.IncompleteReadError):
        await line.reader.readexactly(len(NEXT))
