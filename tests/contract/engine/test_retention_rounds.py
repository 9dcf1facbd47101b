"""When what is old is deleted, by how many, and while the store is away."""

import asyncio
from datetime import timedelta
from typing import Any

from daemon import StoreUnavailableError
from daemon.clock import ManualClock
from daemon.log import captured_log
from daemon.store.port import Store
from tests.contract.engine.kept import keep_old_runs, left, retention, working
from tests.contract.engine.processes import Process, until


async def test_it_begins_at_once_and_looks_again_every_minute(store: Store, shop: Process, clock: ManualClock) -> None:
    await keep_old_runs(store, clock, 1)

    with captured_log() as lines:
        async with working(retention(shop, clock)):
            await until(lambda: clock.next_due_s() is not None)
            first = await left(store)
            await keep_old_runs(store, clock, 2, owner="late")
            clock.advance(timedelta(seconds=59))
            between = await left(store)
            clock.advance(timedelta(seconds=1))
            await until(lambda: sum(line["event"] == "retention_applied" for line in lines) == 2)

    assert (first, len(between), await left(store)) == ([], 2, [])
    told = [(line["level"], line["runs"]) for line in lines if line["event"] == "retention_applied"]
    assert told == [("info", 1), ("info", 2)]


async def test_several_daemons_may_delete_at_the_same_time(store: Store, shop: Process, clock: ManualClock) -> None:
    other = Process(store, clock, "process-2")
    await keep_old_runs(store, clock, 400)

    found = await asyncio.gather(*[retention(each, clock).apply() for each in (shop, other, shop)])

    assert sum(counts["runs"] for counts in found) == 400
    assert await left(store) == []


class AwayStore:
    """A store that is away as long as it is told to be."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_away = True
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def prune_runs(self, *which: Any, **more: Any) -> int:
        """Be away, or pass on."""
        self.asked += 1
        if self.is_away:
            raise StoreUnavailableError("The disk is full.")
        return await self._store.prune_runs(*which, **more)


async def test_a_store_that_is_away_is_told_once_and_asked_again(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    away: Any = AwayStore(store)
    await keep_old_runs(store, clock, 1)

    with captured_log() as lines:
        async with working(retention(shop, clock, store=away)):
            for _ in range(3):
                await until(lambda: clock.next_due_s() is not None)
                clock.advance(timedelta(minutes=1))
            await until(lambda: away.asked == 4 and clock.next_due_s() is not None)
            away.is_away = False
            clock.advance(timedelta(minutes=1))
            await until(lambda: any(line["event"] == "retention_applied" for line in lines))

    warned = [line for line in lines if line["event"] == "retention_not_applied" and line["level"] == "warning"]
    assert [line["reason"] for line in warned] == ["The disk is full."]
    assert await left(store) == []
