"""What a process had when it died comes to the next one: together once, and alone from then on."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from daemon.clock import ManualClock
from daemon.events.bus import Delivery, Subscription
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Envelope, Message
from daemon.store.memory import MemoryStore

CONCURRENCY = 3
TURNS = 200


class Host:
    """A store, and the processes on it, one after the other."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self._buses: list[EmbeddedBus] = []
        self._living = ""

    def _lives(self, owner: str) -> bool:
        return owner == self._living

    async def process(self, *others: str) -> list[Delivery]:
        """Let the process before die, and return what the next one's subscribers are handed, which grows.

        Args:
            others: Subscribers besides `reader`.
        """
        await self.store.retire(self._living)
        self._living = owner = f"process-{len(self._buses)}"
        await self.store.register("shop", owner, lease_s=60)
        # The dead take nothing more: their lease is over.
        lives = partial(self._lives, owner)
        bus = EmbeddedBus(self.store, app="shop", owner=owner, clock=self.clock, is_leased=lives)
        await bus.start()
        handed: list[Delivery] = []
        self._buses.append(bus)
        for id in ("reader", *others):
            await bus.subscribe(
                Subscription(id, ("order.placed",), prefetch=20, concurrency=CONCURRENCY), handed.append
            )
        await turns()
        return handed

    async def place(self, *ids: str) -> None:
        """Publish these orders."""
        for id in ids:
            await self._buses[-1].send(Message(Envelope(id, "order.placed", self.clock.now(), "till"), b"{}"))
        await turns()

    async def aclose(self) -> None:
        for bus in reversed(self._buses):
            await bus.aclose()
        await self.store.aclose()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    opened = Host()
    await opened.store.open()
    yield opened
    await opened.aclose()


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def finish(handed: list[Delivery]) -> None:
    """Acknowledge what was handed, and what follows it."""
    for each in handed:  # it grows
        await each.ack()
        await turns()


def ids(handed: list[Delivery]) -> list[str]:
    return [each.message.envelope.id for each in handed]


async def test_what_one_process_died_with_comes_together_as_many_as_are_started_at_once(host: Host) -> None:
    first = await host.process()
    await host.place("o1", "o2", "o3", "o4", "o5")

    second = await host.process()
    at_once = ids(second)
    await finish(second)

    assert ids(first) == ["o1", "o2", "o3", "o4", "o5"]
    assert at_once == ["o1", "o2", "o3"]
    assert ids(second) == ["o1", "o2", "o3", "o4", "o5"]
    assert {each.crashes for each in second} == {1}


async def test_what_waited_for_its_start_when_the_process_died_counts_no_second_start(host: Host) -> None:
    await host.process()
    await host.place("o1", "o2", "o3", "o4")
    await host.process()

    third = await host.process()
    await finish(third)

    assert {each.message.envelope.id: each.crashes for each in third} == {"o1": 2, "o2": 2, "o3": 2, "o4": 1}


async def test_what_two_processes_died_with_comes_alone_before_anything_else(host: Host) -> None:
    await host.process()
    await host.place("o1", "o2")
    await host.process()

    third = await host.process()
    await host.place("o3")
    handed = [ids(third)]
    for _ in range(2):
        await third[-1].ack()
        await turns()
        handed.append(ids(third))

    assert handed == [["o1"], ["o1", "o2"], ["o1", "o2", "o3"]]


async def test_what_is_new_comes_with_what_one_process_died_with(host: Host) -> None:
    await host.process()
    await host.place("o1")

    second = await host.process()
    await host.place("o2")

    assert ids(second) == ["o1", "o2"]


async def test_what_two_processes_died_with_comes_alone_among_all_subscribers(host: Host) -> None:
    await host.process("writer")
    await host.place("o1")
    await host.process("writer")

    third = await host.process("writer", "third")
    await host.place("o2")
    handed = [{(each.subscriber, each.message.envelope.id) for each in third}]
    await next(each for each in third if each.message.envelope.id == "o1").ack()
    await turns()
    handed.append({(each.subscriber, each.message.envelope.id) for each in third})

    assert handed[0] == {("reader", "o1"), ("third", "o2")}
    assert handed[1] == handed[0] | {("reader", "o2"), ("writer", "o1")}
