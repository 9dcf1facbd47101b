"""Runs that a process owns and loses sight of, because its store fails for a moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from daemon import Ref, RunStatus, parallelize, sleep, workflow
from daemon.clock import ManualClock
from daemon.engine.recovery import Recovery
from daemon.errors import StoreUnavailableError
from daemon.store.port import Store
from tests.contract.engine.outside import DAY, SECOND, ended
from tests.contract.engine.processes import APP, CountingStore, Journal, Process, until


class FailingStore(CountingStore):
    """A store of which some calls fail, before they do anything or after they did it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.deaf: set[str] = set()
        self.mute: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        call: Callable[..., Awaitable[Any]] = super().__getattr__(name)
        if name not in self.deaf | self.mute:
            return call

        async def fail(*args: Any, **kwargs: Any) -> None:
            if name in self.mute:
                await call(*args, **kwargs)
            raise StoreUnavailableError("The database cannot be used: it is away.")

        return fail


@pytest.fixture
async def frail(store: Store, clock: ManualClock) -> AsyncIterator[Process]:
    """A process whose store may fail."""
    process = Process(FailingStore(store), clock, "frail")
    await process.announce()
    yield process
    await process.engine.drain(0)


def failing(process: Process) -> FailingStore:
    assert isinstance(process.store, FailingStore)
    return process.store


async def test_what_ran_beside_a_read_that_failed_is_not_repeated(frail: Process, journal: Journal) -> None:
    beside, last = journal.step("beside"), journal.step("last")
    asked = journal.step("asked", external=True)

    @workflow("asking")
    def ask() -> Ref[str]:
        parallelize(asked(), beside())
        return last()

    failing(frail).deaf = {"signal"}
    await ask(frail.container).run(run_id="a-1", wait=False)
    await until(lambda: frail.engine.running == 0)

    failing(frail).deaf = set()
    await frail.engine.heed()
    await until(lambda: frail.engine.running == 0)
    await frail.engine.complete_step("a-1", "asked", "yes")
    run = await ended(frail, "a-1")

    assert (run.status, sorted(journal)) == (RunStatus.COMPLETED, ["asked", "beside", "last"])


async def test_a_run_is_driven_whose_claim_was_durable_although_the_store_could_not_say_so(
    shop: Process, frail: Process, clock: ManualClock, journal: Journal
) -> None:
    first, second = journal.step("first"), journal.step("second")

    @workflow("napping")
    def nap() -> Ref[str]:
        first()
        sleep(DAY)
        return second()

    await nap(shop.container).run(run_id="n-1")
    recovery = Recovery(frail.engine, frail.store, clock, app=APP, owner=frail.owner, claims=True)
    frail.engine.register([nap])
    await recovery.start()
    await asyncio.sleep(0)  # it begins to wait for its next beat
    await shop.die()
    failing(frail).mute = {"claim_runs"}
    clock.advance(2 * SECOND)
    await until(lambda: frail.engine.strays.suspected)

    failing(frail).mute = set()
    clock.advance(2 * SECOND)
    await until(lambda: not frail.engine.strays.suspected)
    clock.advance(DAY)
    run = await ended(frail, "n-1")
    await recovery.retire()

    assert (run.status, journal) == (RunStatus.COMPLETED, ["first", "second"])
