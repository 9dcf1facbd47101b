"""Processes that have all missed their store for longer than their leases last, and live."""

from collections.abc import AsyncIterator

import pytest

from daemon import Ref, RunStatus, wait_for_event, workflow
from daemon.clock import ManualClock
from daemon.engine.recovery import LEASE_S, Recovery
from daemon.store.port import Store
from tests.contract.engine.outside import SECOND, Paid, ended, tell
from tests.contract.engine.processes import APP, Process


@workflow("outliving")
def _outliving() -> Ref[Paid]:
    return wait_for_event(Paid, key="o-1", match=lambda event: event.order_id)


class Pair:
    """A process that looks after the dead, and a peer with a run that waits."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.first, self.peer = Process(store, clock, "first"), Process(store, clock, "peer")
        self.recovery = Recovery(self.first.engine, store, clock, app=APP, owner="first", claims=True)

    async def miss_the_store(self) -> None:
        """Let an outage last for longer than a lease, and the process that looks after the dead come back first."""
        self.first.engine.register([_outliving])
        await self.recovery.beat()
        await self.peer.announce()
        await _outliving(self.peer.container).run(run_id="p-1")
        self.clock.advance(LEASE_S * SECOND)
        await self.store.retire("peer")  # as if its lease were over
        await self.recovery.beat()

    async def let_a_lease_go_by(self) -> None:
        """Let a lease's time go by while the store is there."""
        for _ in range(3):
            self.clock.advance(LEASE_S / 3 * SECOND)
            await self.recovery.beat()

    async def owner(self) -> str:
        """Return whose the run is."""
        record = await self.store.run(APP, "p-1")
        assert record is not None
        return record.owner


@pytest.fixture
async def pair(store: Store, clock: ManualClock) -> AsyncIterator[Pair]:
    """Both, on one store."""
    pair = Pair(store, clock)
    yield pair
    await pair.first.engine.drain(0)
    await pair.peer.engine.drain(0)


async def test_the_first_that_is_back_takes_nothing_from_a_peer_that_comes_back_within_a_lease(pair: Pair) -> None:
    await pair.miss_the_store()

    early = await pair.owner()
    await pair.peer.announce()
    await pair.let_a_lease_go_by()
    late = await pair.owner()
    await tell(pair.peer, Paid(order_id="o-1"))
    run = await ended(pair.peer, "p-1")

    assert (early, late) == ("peer", "peer")
    assert run.status is RunStatus.COMPLETED


async def test_what_nobody_has_come_back_for_after_a_lease_is_taken_over(pair: Pair) -> None:
    await pair.miss_the_store()

    early = await pair.owner()
    await pair.let_a_lease_go_by()
    late = await pair.owner()

    assert (early, late) == ("peer", "first")


async def test_a_lease_counts_again_once_is_looked_after_what_others_took_meanwhile(
    pair: Pair, clock: ManualClock
) -> None:
    counted: list[bool] = []

    async def look() -> None:
        counted.append(pair.recovery.is_leased)

    pair.recovery.regained = look
    await pair.recovery.beat()
    clock.advance(LEASE_S / 3 * SECOND)
    await pair.recovery.beat()
    before = list(counted)
    clock.advance(LEASE_S * SECOND)
    await pair.recovery.beat()

    assert (before, counted, pair.recovery.is_leased) == ([], [False], True)
