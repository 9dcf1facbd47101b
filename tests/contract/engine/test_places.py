"""Places under `max_concurrency` at the moments when somebody lets go: timeouts, cancelled callers, a new limit."""

import asyncio

import pytest

from daemon import RunStatus, StoreUnavailableError
from daemon.clock import ManualClock
from daemon.store.model import RunRecord
from daemon.store.port import Store
from daemon.store.writes import Outcome, TakePlace, Write
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, ended, to_the_next_timer
from tests.contract.engine.processes import APP, CountingStore, Process, until
from tests.contract.engine.test_max_concurrency import Room


class SlowStore(CountingStore):
    """A store that has given a place, or has not, before it says so."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gave, self.say = asyncio.Event(), asyncio.Event()
        self.is_slow = False

    async def commit(self, *writes: Write) -> Outcome:
        outcome = await super().commit(*writes)
        if self.is_slow and any(isinstance(write, TakePlace) for write in writes):
            self.gave.set()
            await self.say.wait()
        return outcome


async def test_a_starter_that_is_cancelled_as_its_run_gets_a_place_leaves_the_run_going(
    store: Store, clock: ManualClock
) -> None:
    slow, room = SlowStore(store), Room(1)
    shop = await living(slow, clock, "shop")

    slow.is_slow = True
    starting = asyncio.create_task(room.start(shop, "r-1"))
    await slow.gave.wait()
    starting.cancel()
    slow.say.set()
    await asyncio.wait([starting])
    await room.inside("r-1")
    run = await room.let_out(shop, "r-1")

    assert (run.status, room.entered) == (RunStatus.COMPLETED, ["r-1"])


async def test_somebody_who_looks_for_places_and_is_cancelled_loses_none(store: Store, clock: ManualClock) -> None:
    slow, room = SlowStore(store), Room(1)
    other, shop = await living(store, clock, "other"), await living(slow, clock, "shop")

    await room.start(other, "r-1")
    await room.start(shop, "r-2")
    await room.inside("r-1")
    await room.let_out(other, "r-1")
    slow.is_slow = True
    looking = asyncio.create_task(shop.engine.heed())
    await slow.gave.wait()
    looking.cancel()
    slow.say.set()
    await asyncio.wait([looking])
    await room.inside("r-2")
    run = await room.let_out(shop, "r-2")

    assert run.status is RunStatus.COMPLETED


async def test_a_place_that_becomes_free_while_the_store_says_that_there_is_none_is_given(
    store: Store, clock: ManualClock
) -> None:
    slow, room = SlowStore(store), Room(1)
    other, shop = await living(store, clock, "other"), await living(slow, clock, "shop")

    await room.start(other, "r-1")
    await room.start(shop, "r-2")
    await room.inside("r-1")
    await until(lambda: not shop.engine._places._tasks, what="nobody looks for places")
    slow.is_slow = True
    await shop.engine.heed()
    await slow.gave.wait()
    await room.let_out(other, "r-1")
    await shop.engine.heed(everything=False)
    await asyncio.sleep(0)
    slow.say.set()
    await room.inside("r-2")
    run = await room.let_out(shop, "r-2")

    assert (run.status, room.entered) == (RunStatus.COMPLETED, ["r-1", "r-2"])


async def test_whoever_asks_for_a_run_as_it_gets_a_place_is_answered_when_it_ends(
    store: Store, clock: ManualClock
) -> None:
    slow, room = SlowStore(store), Room(1)
    shop = await living(slow, clock, "shop")

    await room.start(shop, "r-1")
    await room.start(shop, "r-2")
    await room.inside("r-1")
    await until(lambda: not shop.engine._places._tasks, what="nobody looks for places")
    slow.is_slow = True
    await room.let_out(shop, "r-1")
    await slow.gave.wait()
    asking = asyncio.create_task(room.flow(shop.container).run("", run_id="r-2"))
    await until(lambda: shop.engine._parking._waiters.get("r-2"), what="it waits for the end")
    slow.say.set()
    await room.inside("r-2")
    await room.let_out(shop, "r-2")

    assert (await asking).status is RunStatus.COMPLETED


@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_a_runs_timeout_strikes_while_it_waits_for_a_place(
    store: Store, clock: ManualClock, *, is_taken_over: bool
) -> None:
    room = Room(1, timeout=HOUR)
    process, heir, other = [await living(store, clock, name) for name in ("process", "heir", "other")]

    await room.start(other, "r-1")
    await room.inside("r-1")
    await other.die()  # its place is its run's, which nobody has taken over yet
    clock.advance(HOUR / 2)
    await room.start(process, "r-2")
    if is_taken_over:
        await process.die()
        process = heir
        await process.engine.resume([record for record in await _claimed(heir, room) if record.run_id == "r-2"])
    struck = await to_the_next_timer(clock)
    run = await ended(process, "r-2")

    assert (struck, run.status, run.errors[0].attempts[0].type) == (HOUR, RunStatus.REVERTED, "RunTimeout")
    assert room.entered == ["r-1"]


async def _claimed(process: Process, room: Room) -> list[RunRecord]:
    process.engine.register([room.flow])
    return await process.store.claim_runs(APP, process.owner, [room.flow.name], limit=10)


async def test_a_run_that_never_had_a_place_has_nothing_in_doubt(shop: Process, clock: ManualClock) -> None:
    room = Room(1, timeout=HOUR)

    await room.start(shop, "r-1")
    await room.inside("r-1")
    await room.start(shop, "r-2")
    clock.advance(DAY)
    first, second = [await ended(shop, run_id) for run_id in ("r-1", "r-2")]

    assert (first.status, first.compensated) == (RunStatus.REVERTED, ["be-inside"])
    assert (second.status, second.compensated, second.steps) == (RunStatus.REVERTED, [], {})
    assert [(error.step, error.attempts[0].type) for error in second.errors] == [("room", "RunTimeout")]
    assert room.entered == ["r-1", "undo r-1"]


async def test_a_limit_that_was_taken_off_holds_nobody_back(store: Store, clock: ManualClock) -> None:
    before, after = Room(1), Room(None)
    old, new = [await living(store, clock, name) for name in ("old", "new")]

    for run_id in ("r-1", "r-2", "r-3"):
        await before.start(old, run_id)
    await before.inside("r-1")
    await old.die()
    await new.take_over(after.flow)
    await after.inside("r-1", "r-2", "r-3")
    for run_id in ("r-1", "r-2", "r-3"):
        assert (await after.let_out(new, run_id)).status is RunStatus.COMPLETED


async def test_a_run_that_is_cancelled_as_it_gets_its_place_has_nothing_in_doubt(
    store: Store, clock: ManualClock
) -> None:
    slow, room = SlowStore(store), Room(1)
    other, shop = await living(store, clock, "other"), await living(slow, clock, "shop")

    await room.start(other, "r-1")
    await room.start(shop, "r-2")
    await room.inside("r-1")
    await room.let_out(other, "r-1")
    slow.is_slow = True
    await shop.engine.heed()
    await slow.gave.wait()
    await shop.engine.cancel("r-2")
    run = await ended(shop, "r-2")
    slow.say.set()
    await room.start(shop, "r-3")
    await room.inside("r-3")
    await room.let_out(shop, "r-3")

    assert (run.status, run.steps, run.errors) == (RunStatus.CANCELLED, {}, [])
    assert room.entered == ["r-1", "r-3"]


async def test_a_run_that_was_taken_over_while_it_waited_holds_no_other_back(store: Store, clock: ManualClock) -> None:
    room = Room(1)
    other, shop, heir = [await living(store, clock, name) for name in ("other", "shop", "heir")]

    await room.start(other, "r-1")
    await room.inside("r-1")
    waiting = asyncio.create_task(room.flow(shop.container).run("", run_id="r-2", wait=True))
    await until(lambda: shop.engine._parking._waiters.get("r-2"), what="it waits")
    await store.retire("shop")  # its lease is over, and it does not know
    await heir.take_over(room.flow)
    await shop.announce()
    await room.start(shop, "r-3")
    await room.let_out(other, "r-1")
    await shop.engine.heed()
    await room.inside("r-3")
    await room.let_out(shop, "r-3")
    await heir.engine.heed()
    await room.inside("r-2")
    run = await room.let_out(heir, "r-2")

    with pytest.raises(StoreUnavailableError, match="was interrupted here"):
        await waiting
    assert run.status is RunStatus.COMPLETED
