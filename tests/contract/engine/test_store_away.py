"""Runs that are interrupted since the store cannot be read: they go on as soon as it can."""

from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, RunStatus, StoreUnavailableError, sleep, wait_for_event, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, Paid, ended, tell
from tests.contract.engine.processes import Journal, until


class AwayStore:
    """A store that cannot be read for a time; what is written waits for it, as the protocol says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_away = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("steps", "signal", "children"):
            return found

        async def read(*args: Any, **kwargs: Any) -> Any:
            if self.is_away:
                msg = "The database cannot be read: it is away."
                raise StoreUnavailableError(msg)
            return await found(*args, **kwargs)

        return read


async def test_a_run_that_is_due_while_the_store_is_away_goes_on_when_it_is_back(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    after = journal.step("after")

    @workflow("sleeper")
    def sleeper() -> Ref[str]:
        sleep(DAY)
        return after()

    await sleeper(process.container).run(run_id="s-1")
    away.is_away = True
    clock.advance(DAY + timedelta(seconds=1))
    await until(lambda: process.engine.strays.suspected)
    away.is_away = False
    await process.engine.heed()
    run = await ended(process, "s-1")

    assert (run.status, journal) == (RunStatus.COMPLETED, ["after"])


async def test_a_run_that_waits_while_the_store_goes_away_goes_on_when_it_is_back(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    away = AwayStore(store)
    process = await living(away, clock, "process-1")
    before = journal.step("before")

    @workflow("waiter")
    def waiter() -> Ref[Paid]:
        before()
        return wait_for_event(Paid, key="o-1", match=lambda event: event.order_id)

    away.is_away = True
    with pytest.raises(StoreUnavailableError):
        await waiter(process.container).run(run_id="w-1")
    away.is_away = False
    await process.engine.heed()
    await until(lambda: process.engine._parking.parked("w-1"))
    await tell(process, Paid(order_id="o-1"))
    run = await ended(process, "w-1")

    assert (run.status, journal) == (RunStatus.COMPLETED, ["before"])
    assert not process.engine.running
