"""What becomes of a subscriber's events when a reload turns it off and on again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import Event, SubscriberContext, subscriber
from daemon.clock import ManualClock
from daemon.config import Config
from daemon.container import Services
from daemon.discovery import Discovered
from daemon.events.bus import Fare
from daemon.testing.memory import in_memory

HOLD_TURNS = 200


class OrderPlaced(Event, name="order.placed"):
    id: str


class Shop:
    """An application whose subscriber waits for `gate`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.began: list[str] = []
        self.ended: list[str] = []

        @subscriber(OrderPlaced, id="note-order", concurrency=1)
        async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
            self.began.append(event.id)
            await self.gate.wait()
            self.ended.append(event.id)

        self.app, _ = in_memory(
            config(), Discovered(subscribers=(note,)), clock=ManualClock(), services=Services([]), is_daemon=True
        )

    async def turn(self, *, on: bool) -> None:
        """Reload with the subscriber on or off."""
        await self.app.reload(config(enabled=on))
        await self.settle()

    async def publish(self, *ids: str) -> None:
        """Publish, and let happen what can."""
        for id in ids:
            await self.app.events.publish(OrderPlaced(id=id), id=id)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(HOLD_TURNS):
            await asyncio.sleep(0)


def config(*, enabled: bool = True) -> Config:
    return Config.model_validate({"app": {"name": "shop"}, "subscribers": {"note-order": {"enabled": enabled}}})


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    opened = Shop()
    await opened.app.start()
    await opened.app.consumption.consume()
    yield opened
    opened.gate.set()
    await opened.settle()
    for _, consumer in opened.app.consumption.consumers.values():
        await consumer.cancel()
    await opened.app.aclose()


async def test_what_runs_while_its_subscriber_is_turned_off_and_on_again_runs_once(shop: Shop) -> None:
    await shop.publish("o1", "o2")
    await shop.turn(on=False)
    off = (list(shop.began), shop.app.consumption.fares(shop.app.queues))
    await shop.turn(on=True)
    on = list(shop.began)

    shop.gate.set()
    await shop.settle()

    assert off == (["o1"], {"note-order": Fare("off", "", 1)})
    assert on == ["o1"]
    assert shop.ended == ["o1", "o2"]
    assert shop.app.consumption.fares(shop.app.queues) == {"note-order": Fare("consuming", "", 0)}


async def test_what_waits_while_its_subscriber_is_turned_off_goes_back_to_its_queue(shop: Shop) -> None:
    await shop.publish("o1", "o2", "o3")
    await shop.turn(on=False)

    shop.gate.set()
    await shop.settle()
    [state] = await shop.app.bus.queues(["note-order"])

    assert shop.ended == ["o1"]
    assert (state.ready, state.in_flight) == (2, 0)


async def test_one_dispatcher_serves_a_subscriber_however_often_it_is_turned_off_and_on(shop: Shop) -> None:
    await shop.publish("o1")
    seen = set[Any]()
    for _ in range(5):
        await shop.turn(on=False)
        await shop.turn(on=True)
        seen.update(shop.app.consumption.all_dispatchers())

    assert len(seen) == 1
    assert shop.began == ["o1"]


async def test_a_dispatcher_that_has_nothing_left_to_do_is_dropped(shop: Shop) -> None:
    await shop.publish("o1")
    await shop.turn(on=False)
    running = len(shop.app.consumption.all_dispatchers())
    shop.gate.set()
    await shop.settle()

    await shop.turn(on=False)

    assert (running, shop.app.consumption.all_dispatchers()) == (1, [])
