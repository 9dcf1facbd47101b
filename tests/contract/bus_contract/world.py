"""What a bus is tried in, how a function becomes a part of the contract, and what its claims are told with."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from daemon.events.bus import Bus, Consumer, Delivery, Subscription
from daemon.events.model import Envelope, Message

WITHIN_S = 10.0


class BusWorld(Protocol):
    """One broker and the processes of one application on it."""

    async def bus(self) -> Bus:
        """Return a started bus, as another process of the application has it; closed by the world."""

    async def crash(self, bus: Bus) -> None:
        """Have the process of this bus die as by kill -9; what it did not settle comes again."""


Claim = Callable[[BusWorld], Awaitable[None]]
CLAIMS: list[Claim] = []


def claim(function: Claim) -> Claim:
    """Make a function part of the contract."""
    CLAIMS.append(function)
    return function


def name_of_claim(function: Claim) -> str:
    """Return the claim in words."""
    return function.__name__.replace("_", "-")


class Inbox:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._unread: asyncio.Queue[Delivery] = asyncio.Queue()

    def __call__(self, delivery: Delivery) -> None:
        """Take a delivery over."""
        self.deliveries.append(delivery)
        self._unread.put_nowait(delivery)

    async def next(self) -> Delivery:
        """Return the next delivery, in order of arrival."""
        return await asyncio.wait_for(self._unread.get(), WITHIN_S)

    async def ids(self, count: int) -> list[str]:
        """Acknowledge the next deliveries and return their events' ids."""
        found = []
        for _ in range(count):
            delivery = await self.next()
            found.append(delivery.message.envelope.id)
            await delivery.ack()
        return found


async def until(probe: Callable[[], Any]) -> None:
    """Return once `probe()`, or what it returns to be awaited, is true."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            seen = probe()
            if await seen if isinstance(seen, Awaitable) else seen:
                return
            await asyncio.sleep(0.005)


async def consume(
    bus: Bus, id: str, *patterns: str, prefetch: int = 20, ordered: bool = False
) -> tuple[Inbox, Consumer]:
    """Subscribe, and return what arrives once the subscription stands."""
    inbox = Inbox()
    consumer = await bus.subscribe(
        Subscription(id, patterns or ("order.placed",), prefetch=prefetch, ordered=ordered), inbox
    )
    await until(lambda: consumer.ready)
    return inbox, consumer


async def place(bus: Bus, *ids: str) -> None:
    """Publish `order.placed` with these ids, one after the other."""
    for id in ids:
        await bus.send(message("order.placed", b"{}", id))


def message(name: str, body: bytes, id: str) -> Message:
    """Return a message as somebody else's program may have sent it."""
    return Message(Envelope(id=id, name=name, time=datetime(2026, 1, 1, tzinfo=UTC), source="elsewhere"), body)
