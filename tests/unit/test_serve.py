"""When the API begins to answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from starlette.responses import PlainTextResponse

from daemon.clock import ManualClock
from daemon.http.address import Address
from daemon.http.server import HttpServer
from daemon.serve import Api, Listening

LOCAL = "127.0.0.1"
WITHIN_S = 10.0
ASK = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"


class Place:
    """An API at a free port, and how often what answers was made."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.address = Address(LOCAL, 0)
        self.api = Api(self.address, self._make, self.clock)
        self.made = 0

    def _make(self) -> HttpServer:
        self.made += 1
        return HttpServer(PlainTextResponse("here I am"), self.address)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[asyncio.StreamReader]:
        """Take the address inside the block, connect and ask; give what the answer comes by."""
        await self.api.start()
        reader, writer = await asyncio.open_connection(LOCAL, self.address.port)
        try:
            writer.write(ASK)
            yield reader
        finally:
            writer.close()
            await self.api.aclose()


async def test_who_asks_while_the_daemon_starts_is_answered_once_work_is_under_way() -> None:
    place = Place()
    async with place.started() as reader:
        made_before = place.made

        await Listening(place.api).start()

        answer = await asyncio.wait_for(reader.read(), WITHIN_S)
    assert (made_before, place.made) == (0, 1)
    assert answer.endswith(b"here I am")


async def test_a_start_that_takes_longer_than_a_second_does_not_keep_the_api_from_answering() -> None:
    place = Place()
    async with place.started() as reader:
        place.clock.advance(timedelta(seconds=1))

        answer = await asyncio.wait_for(reader.read(), WITHIN_S)
    assert answer.endswith(b"here I am")


async def test_an_api_that_is_closed_before_it_answers_leaves_its_address_to_others() -> None:
    place = Place()
    await place.api.start()

    await place.api.aclose()

    again = Address(LOCAL, place.address.port)
    await again.take()
    again.release()
    assert place.made == 0
