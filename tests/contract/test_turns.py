"""Whose turn it is with an ordered subscriber, on every store."""

import math
from collections.abc import Callable
from datetime import timedelta

from daemon.clock import ManualClock
from daemon.events.rabbitmq.turn import Turn
from daemon.store.port import Store
from tests.contract.records import APP

LEASE_S = 3_600.0


def turn_of(
    store: Store,
    owner: str,
    *,
    clock: ManualClock | None = None,
    leased_until_s: Callable[[], float] = lambda: math.inf,
) -> Turn:
    clock = clock or ManualClock()
    return Turn(store, clock, app=APP, subscriber="ledger", owner=owner, leased_until_s=leased_until_s)


async def register(store: Store, *owners: str) -> None:
    for owner in owners:
        await store.register(APP, owner, lease_s=LEASE_S)


async def test_one_process_has_the_turn_until_it_gives_it_back(store: Store) -> None:
    await register(store, "one", "two")
    one, two = turn_of(store, "one"), turn_of(store, "two")

    seen = [await one.claim(), await two.claim(), await one.claim()]
    await one.give_back()
    seen += [await two.claim(), await one.claim()]

    assert seen == [True, False, True, True, False]
    assert (one.ours, two.ours) == (False, True)


async def test_the_turn_of_a_process_that_died_is_the_next_one_s(store: Store) -> None:
    await register(store, "one", "two")
    one, two = turn_of(store, "one"), turn_of(store, "two")
    await one.claim()

    await store.retire("one")

    assert await two.claim()
    await one.give_back()  # which takes it from nobody
    assert not await turn_of(store, "three").claim()


async def test_two_that_make_the_turn_at_the_same_time_do_not_both_have_it(store: Store) -> None:
    await register(store, "one", "two")
    one, two = turn_of(store, "one"), turn_of(store, "two")
    here = [await one._take(), await two._take()]  # both find that there is none

    claimed = [await one.claim(), await two.claim()]
    await two._take_first()

    assert here == [None, None]
    assert claimed == [True, False]
    assert not await two.claim()


async def test_without_a_lease_that_goes_on_for_sure_it_is_nobody_s_turn(store: Store) -> None:
    await register(store, "one")

    assert not await turn_of(store, "one", leased_until_s=lambda: -math.inf).claim()


async def test_a_turn_that_was_taken_over_while_the_lease_was_interrupted_is_not_ours_for_a_moment(
    store: Store,
) -> None:
    await register(store, "one", "two")
    clock = ManualClock()
    until_s = clock.monotonic_s() + 0.1
    one, two = turn_of(store, "one", clock=clock, leased_until_s=lambda: until_s), turn_of(store, "two")
    before = await one.claim()

    await store.retire("one")
    taken = await two.claim()
    await register(store, "one")
    clock.advance(timedelta(seconds=0.2))
    until_s += 6
    after = await one.claim()

    assert (before, taken, after) == (True, True, False)


async def test_turns_are_no_queues_that_anybody_sees(store: Store) -> None:
    await register(store, "one")

    await turn_of(store, "one").claim()

    assert await store.queue_depths(APP) == {}
    assert await store.bindings(APP) == []
