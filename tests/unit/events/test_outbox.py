"""What was staged leaves through the outbox: all of it, in order, also after the broker was away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from daemon.clock import ManualClock
from daemon.events.model import message_of, pack
from daemon.events.outbox import Outbox
from daemon.store.memory import MemoryStore
from daemon.store.model import OutgoingEvent
from daemon.store.writes import StageEvent
from tests.unit.events.watched import WatchedBus

HOLD_TURNS = 50


class Post:
    """An outbox with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.bus = WatchedBus(self.store, self.clock)
        self.outbox = Outbox(self.store, self.bus, app="shop", owner="p1", clock=self.clock)

    async def stage(self, *ids: str, origin: str = "run-1", name: str = "order.noted", first: int = 0) -> None:
        for seq, id in enumerate(ids, first):
            message = message_of(name, b"{}", source="shop", now_us=0, id=id)
            await self.store.commit(StageEvent(OutgoingEvent(id, "shop", origin, seq, pack(message), 0, "p1")))

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


async def test_a_store_that_is_lost_while_a_bus_queues_there_is_no_error_of_the_event(
    post: Post, log: list[dict[str, Any]]
) -> None:
    post.bus.lost = True
    await post.stage("a1", "a2", origin="run-a")
    await post.stage("b1", origin="run-b")
    await post.outbox.start()
    await post.settle()
    while_lost = (post.bus.tries, await post.left())

    post.bus.lost = False
    post.clock.advance(timedelta(seconds=0.1))
    await post.settle()

    assert while_lost == (2, ["a1", "a2", "b1"])
    assert sorted(post.bus.sent) == ["a1", "a2", "b1"]
    assert await post.left() == []
    assert log == []


async def test_an_event_that_cannot_be_sent_stops_its_own_origin_and_no_other(post: Post) -> None:
    post.bus.refused = {"a2"}
    await post.stage("a1", "a2", "a3", origin="run-a")
    await post.stage("b1", "b2", origin="run-b")

    await post.outbox.start()
    await post.settle()

    assert sorted(post.bus.sent) == ["a1", "b1", "b2"]
    assert await post.left() == ["a2", "a3"]


async def test_what_is_staged_while_an_origin_is_stuck_does_not_wait_for_it(post: Post) -> None:
    post.bus.refused = {"a1"}
    await post.stage("a1", "a2", origin="run-a")
    await post.outbox.start()
    await post.settle()
    tries = []
    for at in range(20):
        await post.stage(f"b{at}", origin=f"run-{at}")
        post.outbox.poke()
        await post.settle()
        tries.append(post.bus.tries)

    assert post.bus.sent == [f"b{at}" for at in range(20)]
    assert tries == list(range(2, 22))
    assert await post.left() == ["a1", "a2"]


async def test_what_is_stuck_is_tried_again_after_a_wait_that_doubles(post: Post) -> None:
    post.bus.refused = {"a1"}
    await post.stage("a1", "a2", origin="run-a")
    await post.outbox.start()
    await post.settle()
    waits = []
    for _ in range(8):
        waits.append(post.clock.next_due_s())
        post.clock.advance(timedelta(seconds=waits[-1] or 0))
        await post.settle()
    post.bus.refused = set()
    post.clock.advance(timedelta(seconds=5))
    await post.settle()

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert post.bus.sent == ["a1", "a2"]


async def test_more_stuck_origins_than_a_page_holds_do_not_block_what_is_behind_them(post: Post) -> None:
    for at in range(1_200):
        await post.stage(f"stuck-{at}", origin=f"run-{at}")
    post.bus.refused = {f"stuck-{at}" for at in range(1_200)}
    await post.stage("e1", "e2", origin="another")

    await post.outbox.start()
    await post.settle()

    assert post.bus.sent == ["e1", "e2"]


async def test_a_name_that_the_broker_refuses_is_not_tried_for_every_origin_and_blocks_no_other(post: Post) -> None:
    """A full queue that rejects what is published: every event of the names that are bound to it."""
    post.bus.full = {"order.noted"}
    for at in range(1_200):
        await post.stage(f"full-{at}", origin=f"run-{at}")
    await post.stage("e1", origin="another", name="order.paid")
    await post.outbox.start()
    await post.settle()
    for _ in range(3):
        post.outbox.poke()
        await post.settle()

    assert post.bus.sent == ["e1"]
    assert post.bus.tries <= 501
    post.bus.full = set()
    for _ in range(4):
        post.clock.advance(timedelta(seconds=5))
        await post.settle()
    assert await post.left() == []


async def test_many_pages_leave_in_the_order_of_each_origin(post: Post) -> None:
    for at in range(700):
        await post.stage(f"a{at}", first=at, origin="run-a")
        await post.stage(f"b{at}", first=at, origin="run-b")

    await post.outbox.start()
    while await post.left():
        await post.settle()

    for origin in "ab":
        assert [id for id in post.bus.sent if id.startswith(origin)] == [f"{origin}{at}" for at in range(700)]


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
