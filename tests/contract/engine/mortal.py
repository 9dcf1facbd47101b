"""Processes that die, as the crash tests need them."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from daemon.clock import ManualClock
from daemon.engine.ending import interrupted
from daemon.store.port import Store
from daemon.store.writes import Outcome, Write
from tests.contract.engine.processes import CountingStore, Process


async def living(store: Any, clock: ManualClock, owner: str) -> Process:
    process = Process(store, clock, owner)
    await process.announce()
    return process


async def cancelled(*tasks: asyncio.Future[Any]) -> None:
    for each in tasks:
        each.cancel()
    if tasks:
        await asyncio.wait(tasks)


class MortalStore(CountingStore):
    """A store whose process dies at one of its commits: nothing is written any more, and nothing is cleaned up."""

    def __init__(self, store: Store, *, at: int, committed: bool) -> None:
        super().__init__(store)
        self.died = asyncio.Event()
        self._at = at
        self._committed = committed

    async def commit(self, *writes: Write) -> Outcome:
        if len(self.commits) + 1 < self._at:
            return await super().commit(*writes)
        if self._committed and not self.died.is_set():
            await super().commit(*writes)
        self.died.set()
        await asyncio.Event().wait()
        raise AssertionError


class Mortal:
    """A process that dies at one of its commits."""

    def __init__(self, store: Store, clock: ManualClock, *, at: int, committed: bool, owner: str = "mortal") -> None:
        self.store = MortalStore(store, at=at, committed=committed)
        self.died = self.store.died
        self.process = Process(self.store, clock, owner)

    async def live(self, work: Awaitable[Any]) -> bool:
        """Run until the work is done, or the process died; tell whether it died."""
        await self.process.announce()
        task = asyncio.ensure_future(work)
        death = asyncio.create_task(self.died.wait())
        await asyncio.wait([task, death], return_when=asyncio.FIRST_COMPLETED)
        died = not task.done()
        await cancelled(task, death, *self.process.engine._tasks())
        await cancelled(*self.process.engine._rescues)
        self.process.engine._parking.close(interrupted)
        await self.store.retire(self.process.owner)
        return died
