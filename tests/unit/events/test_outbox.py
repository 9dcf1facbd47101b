"""What was staged leaves through the outbox: all of it, in order, also after the broker was away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from daemon.clock import ManualClock
from daemon.errors import BrokerUnavailableError
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Message, message_of, pack
from daemon.events.outbox import Outbox
from daemon.store.memory import MemoryStore
from daemon.store.model import OutgoingEvent
from daemon.store.writes import StageEvent

HOLD_TURNS = 50


class WatchedBus(EmbeddedBus):
    """Keeps what was sent; refuses while `away`, and always what is in `refused`."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        super().__init__(store, app="shop", owner="p1", clock=clock)
        self.away = False
        self.refused: set[str] = set()
        self.tries = 0
        self.sent: list[str] = []

    async def send(self, message: Message) -> bool:
        self.tries += 1
        await asyncio.sleep(0)
        if self.away:
            raise BrokerUnavailableError("away")
        if message.envelope.id in self.refused:
            raise ValueError("half a surrogate pair")
        self.sent.append(message.envelope.id)
        return True


class Post:
    """An outbox with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.bus = WatchedBus(self.store, self.clock)
        self.outbox = Outbox(self.store, self.bus, app="shop", clock=self.clock)

    async def stage(self, *ids: str, origin: str = "run-1") -> None:
        for seq, id in enumerate(ids):
            message = message_of("order.noted", b"{}", source="shop", now_us=0, id=id)
            await self.store.commit(StageEvent(OutgoingEvent(id, "shop", origin, seq, pack(message), 0)))

    async def settle(self) -> None:
        for _ in range(HOLD_TURNS):
            await asyncio.sleep(0)

    async def left(self) -> list[str]:
        return [event.id for event in await self.store.outgoing("shop", limit=100)]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    opened = Post()
    yield opened
    opened.bus.away = False
    await opened.outbox.aclose()


async def test_what_was_staged_before_the_start_is_relayed_in_order_and_dropped(post: Post) -> None:
    await post.stage("e1", "e2", "e3")

    await post.outbox.start()
    await post.settle()

    assert post.bus.sent == ["e1", "e2", "e3"]
    assert await post.left() == []


async def test_a_poke_relays_what_was_staged_since(post: Post) -> None:
    await post.outbox.start()
    await post.settle()
    await post.stage("e1")

    post.outbox.poke()
    await post.settle()

    assert post.bus.sent == ["e1"]


async def test_what_nobody_poked_for_is_found_by_looking_now_and_then(post: Post) -> None:
    await post.outbox.start()
    await post.settle()
    await post.stage("e1")

    post.clock.advance(timedelta(seconds=5))
    await post.settle()

    assert post.bus.sent == ["e1"]


async def test_a_broker_that_is_away_is_tried_again_at_its_own_pace_however_often_it_is_poked(post: Post) -> None:
    post.bus.away = True
    await post.stage("e1", "e2")
    await post.outbox.start()
    await post.settle()
    for _ in range(10):
        post.outbox.poke()
        await post.settle()
    while_away = (post.bus.tries, await post.left())

    post.bus.away = False
    post.clock.advance(timedelta(seconds=0.1))
    await post.settle()

    assert while_away == (1, ["e1", "e2"])
    assert post.bus.sent == ["e1", "e2"]
    assert await post.left() == []


async def test_an_event_that_cannot_be_sent_stops_its_own_origin_and_no_other(post: Post) -> None:
    post.bus.refused = {"a2"}
    await post.stage("a1", "a2", "a3", origin="run-a")
    await post.stage("b1", "b2", origin="run-b")

    await post.outbox.start()
    await post.settle()

    assert sorted(post.bus.sent) == ["a1", "b1", "b2"]
    assert await post.left() == ["a2", "a3"]


async def test_closing_relays_what_is_there_and_does_not_wait_for_a_broker_that_is_away(post: Post) -> None:
    await post.outbox.start()
    await post.settle()
    await post.stage("e1")
    await post.outbox.aclose()
    sent = list(post.bus.sent)

    post.bus.away = True
    await post.stage("e2")
    await post.outbox.start()
    await post.outbox.aclose()

    assert sent == ["e1"]
    assert await post.left() == ["e2"]
