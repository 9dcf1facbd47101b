"""Whose queues have been brought about on the connection of the moment."""

import asyncio
from collections.abc import Hashable, Iterable


class Roll:
    """Who is to be waited for before anything is published: on an empty broker, their queues are not there yet."""

    def __init__(self) -> None:
        self._missing: set[Hashable] = set()
        self._complete = asyncio.Event()
        self._complete.set()

    def call(self, everybody: Iterable[Hashable]) -> None:
        """Wait for these, too: they are new, or the connection is."""
        self._missing.update(everybody)
        self._settle()

    def answer(self, who: Hashable) -> None:
        """Do not wait for this one any more: its queue is there, or the broker has refused it, or it has left."""
        self._missing.discard(who)
        self._settle()

    async def complete(self) -> None:
        """Return when everybody has answered."""
        while self._missing:  # somebody may have come between its being complete and our being told
            await self._complete.wait()

    def _settle(self) -> None:
        if self._missing:
            self._complete.clear()
        else:
            self._complete.set()
