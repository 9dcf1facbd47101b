"""The outbox of several processes: each has what it staged itself, and what nobody, or a dead process, left."""

import pytest

from daemon.store.port import Store
from daemon.store.writes import DropOutgoing, StageEvent
from tests.contract.records import APP, GONE, ME, OTHER, outgoing

LEASE_S = 60.0


async def stage(store: Store, owner: str, *ids: str, origin: str = "", first: int = 1, app: str = APP) -> None:
    staged = [
        outgoing(id, owner=owner, origin=origin or id, seq=seq, app=app) for seq, id in enumerate(ids, start=first)
    ]
    await store.commit(*map(StageEvent, staged))


async def mine(store: Store, owner: str = ME, *, limit: int = 10, after: int = 0) -> list[str]:
    return [each.id for each in await store.outgoing(APP, limit=limit, after=after, owner=owner)]


@pytest.fixture(autouse=True)
async def alive(store: Store) -> None:
    for owner in (ME, OTHER):
        await store.register(APP, owner, lease_s=LEASE_S)


async def test_a_process_has_what_it_staged_itself_and_all_see_everything(store: Store) -> None:
    await stage(store, ME, "a")
    await stage(store, OTHER, "b")
    await stage(store, "", "c")
    await stage(store, ME, "d")
    await stage(store, ME, "e", app="bank")

    found = [await mine(store), await mine(store, OTHER), await mine(store, GONE)]
    everybodys = await store.outgoing(APP, limit=10)

    assert found == [["a", "d"], ["b"], []]
    assert [(each.id, each.owner) for each in everybodys] == [("a", ME), ("b", OTHER), ("c", ""), ("d", ME)]


async def test_its_own_are_read_on_from_a_position_and_no_more_than_asked_for(store: Store) -> None:
    for number in range(3):
        await stage(store, OTHER, f"other-{number}")
        await stage(store, ME, f"mine-{number}")
    first = await store.outgoing(APP, limit=2, owner=ME)

    rest = await mine(store, after=first[-1].position)

    assert [each.id for each in first] == ["mine-0", "mine-1"]
    assert rest == ["mine-2"]


async def test_what_nobody_owns_and_what_the_dead_own_is_taken_over_once(store: Store) -> None:
    await stage(store, GONE, "a")
    await stage(store, "", "b")
    await stage(store, OTHER, "c")
    await stage(store, GONE, "d", app="bank")

    taken = [await store.claim_outgoing(APP, each, limit=10) for each in (ME, OTHER, ME)]

    assert taken == [2, 0, 0]
    assert [await mine(store), await mine(store, OTHER)] == [["a", "b"], ["c"]]
    assert [each.owner for each in await store.outgoing("bank", limit=10)] == [GONE]


async def test_no_more_is_taken_over_than_asked_for_and_of_each_process_what_is_oldest(store: Store) -> None:
    await stage(store, GONE, "a", "b", "c", "d")

    taken = await store.claim_outgoing(APP, ME, limit=3)
    rest = await store.claim_outgoing(APP, OTHER, limit=3)

    assert (taken, rest) == (3, 1)
    assert [await mine(store), await mine(store, OTHER)] == [["a", "b", "c"], ["d"]]


async def test_nothing_is_taken_from_a_process_while_it_lives_and_all_of_it_once_it_has_retired(store: Store) -> None:
    await stage(store, OTHER, "a", "b")

    before = await store.claim_outgoing(APP, ME, limit=10)
    await store.retire(OTHER)
    after = await store.claim_outgoing(APP, ME, limit=10)

    assert (before, after) == (0, 2)
    assert await mine(store) == ["a", "b"]


async def test_whoever_was_taken_for_dead_has_only_what_it_stages_from_then_on(store: Store) -> None:
    await stage(store, OTHER, "a")
    await store.retire(OTHER)
    await store.claim_outgoing(APP, ME, limit=10)

    await store.register(APP, OTHER, lease_s=LEASE_S)
    await stage(store, OTHER, "b")

    assert await store.claim_outgoing(APP, ME, limit=10) == 0
    assert [await mine(store), await mine(store, OTHER)] == [["a"], ["b"]]


async def test_an_event_waits_as_long_as_another_process_has_an_earlier_one_of_its_origin(store: Store) -> None:
    await stage(store, OTHER, "a1", origin="a", first=1)
    await stage(store, ME, "a2", "a3", origin="a", first=2)
    await stage(store, OTHER, "b2", origin="b", first=2)
    await stage(store, ME, "b1", origin="b", first=1)

    waiting = [await mine(store), await mine(store, OTHER)]
    await store.commit(DropOutgoing(("a1", "b1")))
    after = [await mine(store), await mine(store, OTHER)]

    assert waiting == [["b1"], ["a1"]]
    assert after == [["a2", "a3"], ["b2"]]


async def test_an_event_waits_for_an_earlier_one_of_a_dead_process_until_that_is_taken_over(store: Store) -> None:
    await stage(store, ME, "a2", origin="a", first=2)
    await stage(store, GONE, "a1", origin="a", first=1)

    before = await mine(store)
    await store.claim_outgoing(APP, ME, limit=10)

    assert before == []
    assert await mine(store) == ["a1", "a2"]


async def test_an_event_that_is_staged_again_stays_whose_it_was(store: Store) -> None:
    await stage(store, OTHER, "a")

    await stage(store, ME, "a")

    assert [await mine(store), await mine(store, OTHER)] == [[], ["a"]]


async def test_staged_events_come_in_order_and_leave_when_they_are_dropped(store: Store) -> None:
    await store.commit(StageEvent(outgoing("b", origin="run-1", seq=2)), StageEvent(outgoing("x", origin="run-2")))
    await store.commit(StageEvent(outgoing("a", origin="run-1", seq=1)), StageEvent(outgoing("y", app="bank")))
    await store.commit(StageEvent(outgoing("x", origin="run-2", message=b"again")))

    before = await store.outgoing(APP, limit=10)
    await store.commit(DropOutgoing(("a", "x", "unknown")))
    after = await store.outgoing(APP, limit=10)

    assert [(each.id, each.message) for each in before] == [("a", b"{}"), ("x", b"{}"), ("b", b"{}")]
    assert after == [outgoing("b", origin="run-1", seq=2)]
    assert [each.id for each in await store.outgoing("bank", limit=10)] == ["y"]


async def test_no_more_staged_events_are_returned_than_asked_for(store: Store) -> None:
    await store.commit(*[StageEvent(outgoing(f"e{n}", seq=n)) for n in range(5)])

    found = await store.outgoing(APP, limit=3)

    assert [each.id for each in found] == ["e0", "e1", "e2"]


async def test_staged_events_are_read_on_from_a_position(store: Store) -> None:
    await store.commit(*[StageEvent(outgoing(f"e{n}", seq=n)) for n in range(5)])
    first = await store.outgoing(APP, limit=2)
    await store.commit(DropOutgoing(("e1", "e2")))

    rest = await store.outgoing(APP, limit=2, after=max(each.position for each in first))

    assert [each.id for each in first] == ["e0", "e1"]
    assert [each.id for each in rest] == ["e3", "e4"]
    assert await store.outgoing(APP, limit=2, after=rest[-1].position) == []
