"""A subscriber's dispatch with everything around it in memory, and deliveries that remember how they were settled."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from daemon.clock import ManualClock
from daemon.container import Services, service
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.model import Envelope, Message
from daemon.events.subscriber import Subscriber
from daemon.log import captured_log
from daemon.store.memory import MemoryStore

HOLD_TURNS = 50


class Handed:
    """A delivery from nowhere; `settled` tells how it ended. A lost one the broker has taken back."""

    def __init__(
        self,
        message: Message,
        *,
        attempt: int = 1,
        redelivered: bool = False,
        crashes: int = 0,
        lost: bool = False,
    ) -> None:
        self.message = message
        self.subscriber = "note-order"
        self.attempt = attempt
        self.first_seen_us = 0
        self.redelivered = redelivered
        self.crashes = crashes
        self.settled: list[Any] = []
        self.lost = lost

    async def ack(self) -> bool:
        return self._settle("ack")

    async def retry(self, delay_s: float, *, attempt: int, error: str) -> bool:
        return self._settle("retry", delay_s, attempt, error)

    async def dead_letter(self, reason: str, *, error: str, traceback: str = "") -> bool:
        return self._settle("dead", reason, error, traceback)

    async def release(self) -> bool:
        return self._settle("release")

    def _settle(self, *how: Any) -> bool:
        if not self.lost:
            self.settled.append(how)
        return not self.lost


class Connection:
    """A service of one handling."""

    def __init__(self) -> None:
        self.closed = False


@service(scope="handler")
def connection() -> Iterator[Connection]:
    made = Connection()
    yield made
    made.closed = True


class Desk:
    """Where subscribers are dispatched."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.services = Services([connection])
        self.pokes = 0

    def dispatcher(self, subscriber: Subscriber[Any], **changes: Any) -> Dispatcher:
        """Return a dispatcher for `subscriber`; `changes` are to its surroundings."""
        around: dict[str, Any] = {
            "app": "shop",
            "store": self.store,
            "clock": self.clock,
            "container": self.services.handler_container,
            "poke": self._poke,
            "chance": lambda: 0.0,
        }
        return Dispatcher(subscriber, Surroundings(**(around | changes)), options={"greeting": "Hello"})

    async def settle(self) -> None:
        """Let every task run until it waits for something that only the test can give."""
        for _ in range(HOLD_TURNS):
            await asyncio.sleep(0)

    async def dispatch(self, dispatcher: Dispatcher, *deliveries: Handed) -> None:
        """Hand on deliveries, and let them be handled as far as that goes by itself."""
        for delivery in deliveries:
            dispatcher.receive(delivery)
        await self.settle()

    async def emitted(self) -> list[Any]:
        """Return what is in the outbox."""
        return await self.store.outgoing("shop", limit=100)

    def _poke(self) -> None:
        self.pokes += 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """What is logged during the test."""
    with captured_log() as lines:
        yield lines


def order(
    id: str = "e1", body: bytes = b'{"id": "o1"}', *, name: str = "order.placed", source: str = "till"
) -> Message:
    """Return an event of the till."""
    return Message(Envelope(id=id, name=name, time=ManualClock().now(), source=source, correlation_id="c0"), body)


async def is_handled(desk: Desk, event_id: str = "e1") -> bool:
    """Tell whether it is known that an event of the till was handled."""
    return await desk.store.handled("shop", "note-order", "till", "order.placed", event_id) is not None
