"""A bus that tells what was sent through it."""

import asyncio

from daemon.clock import ManualClock
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Message
from daemon.store.memory import MemoryStore


class WatchedBus(EmbeddedBus):
    """Keeps what was sent; refuses while `away` or `lost`, names that are `full`, and ids that are in `refused`.

    It does not answer for names that are `silent` before `speaks` is set, and takes `pause_s` for each event.
    """

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        super().__init__(store, app="shop", owner="p1", clock=clock)
        self.away = False
        self.lost = False
        self.refused: set[str] = set()
        self.full: set[str] = set()
        self.silent: set[str] = set()
        self.speaks = asyncio.Event()
        self.pause_s = 0.0
        self.tries = 0
        self.sent: list[str] = []

    @property
    def connected(self) -> bool:
        return not self.away

    async def send(self, message: Message) -> bool:
        self.tries += 1
        await asyncio.sleep(self.pause_s)
        if message.envelope.name in self.silent:
            await self.speaks.wait()
        if self.away:
            raise BrokerUnavailableError("away")
        if self.lost:
            raise StoreUnavailableError("the database cannot be used")
        if message.envelope.name in self.full:
            raise BrokerUnavailableError("the broker did not take it")
        if message.envelope.id in self.refused:
            raise ValueError("half a surrogate pair")
        self.sent.append(message.envelope.id)
        return True
