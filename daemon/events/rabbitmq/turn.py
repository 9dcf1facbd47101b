"""Whose turn it is to run an ordered subscriber's events, among all daemons.

The broker has one active consumer, but cannot know that the daemon whose connection it lost is still at an event. So
nothing of an ordered subscriber is started without the turn, which is a row in the store: one that everybody who
consumes takes over from nobody and from the dead, as a delivery of an ordered queue. It is never settled.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

from daemon.clock import Clock
from daemon.store.model import QueuedDelivery
from daemon.store.port import Store
from daemon.store.writes import Enqueue, Outcome, UpdateDelivery


class Turn:
    """One subscriber's.

    Args:
        app: Prefix of queues.
        owner: This process's id in the store, whose lease says that it lives.
        leased_until_s: Tells until when that lease goes on for sure, by `clock`.
    """

    def __init__(
        self, store: Store, clock: Clock, *, app: str, subscriber: str, owner: str, leased_until_s: Callable[[], float]
    ) -> None:
        self._store = store
        self._clock = clock
        self._app = f"{app}/turns"  # no application has such a name: these are nobody's queues
        self._subscriber = subscriber
        self._owner = owner
        self._leased_until_s = leased_until_s
        self._row: QueuedDelivery | None = None
        self._sure_until_s = -math.inf  # until then nobody can have taken it over
        self._made = False
        self._changing = asyncio.Lock()

    @property
    def ours(self) -> bool:
        """Whether it is this process's, as far as is known: it is another's if the lease was interrupted."""
        return self._row is not None

    async def claim(self) -> bool:
        """Have it, or keep it; False while another living process has it.

        Raises:
            StoreUnavailableError: The store is away.
        """
        async with self._changing:
            now_s, leased_until_s = self._clock.monotonic_s(), self._leased_until_s()
            if now_s >= leased_until_s:
                return False
            if self._row is not None and now_s < self._sure_until_s:
                return True
            if self._row is not None:
                kept = await self._store.commit(UpdateDelivery(self._row, self._owner))
                self._row = self._row if kept is Outcome.APPLIED else None
            if self._row is None:
                self._row = await self._take() or await self._take_first()
            self._sure_until_s = leased_until_s
            return self._row is not None

    async def give_back(self) -> None:
        """Let others have it.

        Raises:
            StoreUnavailableError: The store is away.
        """
        async with self._changing:
            if self._row is not None:
                free = replace(self._row, owner="", deliveries=0)
                await self._store.commit(UpdateDelivery(free, self._owner))  # unless somebody has taken it already
                self._row = None

    async def _take(self) -> QueuedDelivery | None:
        now_us = self._clock.now_us()
        taken = await self._store.take(self._app, self._subscriber, self._owner, limit=1, now_us=now_us, ordered=True)
        return taken[0] if taken else None

    async def _take_first(self) -> QueuedDelivery | None:
        """Make it, if nobody ever has. Two who do so at the same time make two, of which only the first counts."""
        if self._made:
            return None
        if self._subscriber not in await self._store.queue_depths(self._app):
            row = QueuedDelivery(0, self._app, self._subscriber, "turn", "", "", b"{}", b"", 1, 0, self._clock.now_us())
            await self._store.commit(Enqueue((row,)))
        self._made = True
        return await self._take()
