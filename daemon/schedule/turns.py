"""Whose turn it is among the firings of one job that wait in this process."""

import asyncio
from collections.abc import Awaitable, Callable

from daemon.store.job_model import Claimed, ClaimOutcome, FiringRecord


class Turns:
    """The firings of a job that wait here: only the earliest asks the store, which knows those of other processes, too.

    It asks when it has become the earliest, and whenever it is called again; so a thousand that wait cost no more than
    one.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Event] = {}  # by the scheduled time

    async def take(self, record: FiringRecord, ask: Callable[[], Awaitable[Claimed]]) -> Claimed:
        """Return what the store says once it says anything else than to wait."""
        call = self._waiting[record.scheduled_us] = asyncio.Event()
        call.set()
        try:
            while True:
                await call.wait()
                call.clear()
                if min(self._waiting) == record.scheduled_us:
                    claimed = await ask()
                    if claimed.outcome is not ClaimOutcome.WAITING:
                        return claimed
        finally:
            del self._waiting[record.scheduled_us]
            self.call()

    def call(self) -> None:
        """Have the earliest ask again."""
        if self._waiting:
            self._waiting[min(self._waiting)].set()
