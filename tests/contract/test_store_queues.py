"""The queues of the embedded bus, and the hints about them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from daemon.store.model import QueuedDelivery, RunStatus
from daemon.store.port import Store
from daemon.store.writes import Enqueue, Outcome, SettleDelivery, UpdateDelivery, UpdateRun, Write
from tests.contract.records import APP, GONE, ME, OTHER, came, delivery, run, started


async def enqueue(store: Store, *deliveries: QueuedDelivery) -> None:
    await store.commit(Enqueue(deliveries))


async def take(store: Store, **changes: Any) -> list[QueuedDelivery]:
    options: dict[str, Any] = {"limit": 10, "now_us": 1_000}
    return await store.take(APP, changes.pop("subscriber", "greet"), changes.pop("owner", ME), **options | changes)


def ids(deliveries: list[QueuedDelivery]) -> list[str]:
    return [each.event_id for each in deliveries]


async def test_a_delivery_is_taken_as_it_was_enqueued_with_a_place_and_an_owner(store: Store) -> None:
    queued = delivery("e1", body=b"\xff\x00", headers=b'{"x":1}', attempt=3)
    await enqueue(store, queued)

    (taken,) = await take(store)

    assert taken.seq > 0
    assert taken == replace(queued, seq=taken.seq, owner=ME, deliveries=1)


async def test_a_delivery_that_is_parked_is_its_owners_and_its_seq_is_told(store: Store) -> None:
    await store.register(APP, OTHER, lease_s=60)
    parked = delivery("e1", owner=OTHER, deliveries=1, properties=b"\x00\xff")
    await enqueue(store, delivery("e0"))

    seq = await store.park(parked)
    taken = await take(store)
    await store.retire(OTHER)

    assert ids(taken) == ["e0"]
    assert await take(store) == [replace(parked, seq=seq, owner=ME, deliveries=2)]
    assert await store.commit(SettleDelivery(seq, ME)) == Outcome.APPLIED


async def test_what_is_taken_is_not_given_to_anybody_else_while_its_owner_lives(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await enqueue(store, delivery("e1"), delivery("e2"))

    first = await take(store, owner=OTHER, limit=1)

    assert ids(first) == ["e1"]
    assert ids(await take(store)) == ["e2"]
    assert await take(store) == []
    assert await take(store, owner=OTHER) == []


async def test_what_a_dead_process_took_is_given_to_the_next_and_says_so(store: Store) -> None:
    await enqueue(store, delivery("e1"))
    await take(store, owner=GONE)

    (again,) = await take(store)

    assert (again.event_id, again.owner, again.deliveries) == ("e1", ME, 2)


async def test_deliveries_come_in_the_order_of_their_queue_as_many_as_asked_for(store: Store) -> None:
    await enqueue(store, *[delivery(f"e{number}") for number in range(5)])

    first, second = await take(store, limit=3), await take(store, limit=3)

    assert (ids(first), ids(second)) == (["e0", "e1", "e2"], ["e3", "e4"])


async def test_what_is_not_due_waits_and_what_is_due_longest_comes_first(store: Store) -> None:
    await enqueue(store, delivery("later", due_us=1_001), delivery("now"), delivery("overdue", due_us=1))

    at_first = await take(store)

    assert ids(at_first) == ["overdue", "now"]
    assert ids(await take(store, now_us=1_001)) == ["later"]


async def test_queues_of_other_subscribers_and_applications_are_not_touched(store: Store) -> None:
    await enqueue(store, delivery("e1"), delivery("e2", subscriber="bill"), delivery("e3", app="bank"))

    taken = await take(store)

    assert ids(taken) == ["e1"]
    assert ids(await take(store, subscriber="bill")) == ["e2"]
    assert await store.queue_depths("bank") == {"greet": (1, 0, 0)}


async def test_the_first_of_an_ordered_queue_keeps_the_others_waiting_until_it_is_settled(store: Store) -> None:
    await store.register(APP, OTHER, lease_s=60)
    await enqueue(store, delivery("e1"), delivery("e2"))

    (first,) = await take(store, ordered=True, owner=OTHER)
    meanwhile = [*await take(store, ordered=True), *await take(store, ordered=True, owner=OTHER)]
    await store.commit(SettleDelivery(first.seq, OTHER))

    assert meanwhile == []
    assert ids(await take(store, ordered=True)) == ["e2"]


async def test_the_first_of_an_ordered_queue_keeps_the_others_waiting_for_its_retry(store: Store) -> None:
    await enqueue(store, delivery("e1"), delivery("e2"))
    (first,) = await take(store, ordered=True)
    await store.commit(UpdateDelivery(replace(first, owner="", due_us=5_000), ME))

    meanwhile = await take(store, ordered=True)

    assert meanwhile == []
    assert await store.next_due_us(APP, ["greet"], ordered=True) == 5_000
    assert ids(await take(store, ordered=True, now_us=5_000)) == ["e1"]
    assert await store.next_due_us(APP, ["greet"], ordered=True) is None


async def test_a_dead_letter_does_not_hold_up_an_ordered_queue(store: Store) -> None:
    await enqueue(store, delivery("e1"), delivery("e2"))
    (first,) = await take(store, ordered=True)

    await store.commit(UpdateDelivery(replace(first, owner="", reason="rejected"), ME))

    assert ids(await take(store, ordered=True)) == ["e2"]


async def test_the_first_of_an_ordered_queue_is_given_to_the_next_if_its_owner_died(store: Store) -> None:
    await enqueue(store, delivery("e1"), delivery("e2"))
    await take(store, ordered=True, owner=GONE)

    assert ids(await take(store, ordered=True)) == ["e1"]


async def test_a_settled_delivery_is_gone(store: Store) -> None:
    await enqueue(store, delivery("e1"))
    (taken,) = await take(store)

    outcome = await store.commit(SettleDelivery(taken.seq, ME))

    assert outcome is Outcome.APPLIED
    assert await take(store, owner=OTHER) == []
    assert await store.queue_depths(APP) == {}


async def test_only_its_owner_settles_or_changes_a_delivery(store: Store) -> None:
    await enqueue(store, delivery("e1"))
    (taken,) = await take(store)
    await take(store, owner=OTHER)
    writes: list[Write] = [
        SettleDelivery(taken.seq, ME),
        UpdateDelivery(replace(taken, reason="rejected"), ME),
        SettleDelivery(taken.seq + 1, ME),
        UpdateDelivery(replace(taken, seq=taken.seq + 1), ME),
        started("1"),
    ]

    outcomes = [await store.commit(write) for write in writes[:-1]]
    together = await store.commit(*writes)

    assert [*outcomes, together] == [Outcome.FENCED] * 5
    assert await store.queue_depths(APP) == {"greet": (0, 1, 0)}
    assert await store.run(APP, run("1").run_id) is None


async def test_a_released_delivery_keeps_its_place_and_what_was_written_to_it(store: Store) -> None:
    await enqueue(store, delivery("e1"), delivery("e2"))
    first, _ = await take(store)

    outcome = await store.commit(UpdateDelivery(replace(first, owner="", attempt=2, deliveries=0, error="why"), ME))
    (again,) = await take(store)

    assert outcome is Outcome.APPLIED
    assert again == replace(first, attempt=2, deliveries=1, error="why")


async def test_a_dead_letter_is_listed_and_never_taken(store: Store) -> None:
    await enqueue(store, delivery("e1"))
    (taken,) = await take(store)
    dead = replace(taken, owner="", reason="rejected", error="no", traceback="line 1", dead_us=5)

    await store.commit(UpdateDelivery(dead, ME))

    assert await store.dead(APP, "greet", ids=None, limit=10) == [dead]
    assert await take(store) == []
    assert await store.next_due_us(APP, ["greet"]) is None


async def test_dead_letters_come_oldest_first_and_by_event_id(store: Store) -> None:
    await enqueue(store, *[delivery(f"e{number}", reason="rejected") for number in range(4)])
    await enqueue(store, delivery("e1", subscriber="bill", reason="rejected"), delivery("e1"))

    everything = await store.dead(APP, "greet", ids=None, limit=3)
    some = await store.dead(APP, "greet", ids=["e3", "e1", "unknown"], limit=10)

    assert ids(everything) == ["e0", "e1", "e2"]
    assert ids(some) == ["e1", "e3"]
    assert await store.dead(APP, "greet", ids=[], limit=10) == []


async def test_a_dead_letter_can_be_put_back_or_thrown_away(store: Store) -> None:
    await enqueue(store, delivery("e1", reason="rejected"), delivery("e2", reason="rejected"))
    first, second = await store.dead(APP, "greet", ids=None, limit=10)

    put_back = await store.commit(UpdateDelivery(replace(first, reason="", attempt=1, due_us=0), ""))
    thrown_away = await store.commit(SettleDelivery(second.seq, ""))

    assert (put_back, thrown_away) == (Outcome.APPLIED, Outcome.APPLIED)
    assert await store.dead(APP, "greet", ids=None, limit=10) == []
    assert ids(await take(store)) == ["e1"]


async def test_the_next_due_time_is_the_earliest_of_what_nobody_owns(store: Store) -> None:
    await enqueue(store, delivery("e1", due_us=1_000), delivery("e2", due_us=9_000))
    await enqueue(store, delivery("e3", subscriber="bill", due_us=7_000), delivery("e4", subscriber="x", due_us=1))

    before = await store.next_due_us(APP, ["greet", "bill"])
    await take(store)
    after = await store.next_due_us(APP, ["greet", "bill"])

    assert (before, after) == (1_000, 7_000)
    assert await store.next_due_us(APP, ["greet", "bill", "x"], ordered=True) == 1
    assert await store.next_due_us(APP, ["unknown"]) is None
    assert await store.next_due_us(APP, []) is None


async def test_depths_tell_ready_owned_and_dead(store: Store) -> None:
    await enqueue(store, *[delivery(f"e{number}") for number in range(3)], delivery("e4", due_us=10**15))
    await enqueue(store, delivery("e5", reason="rejected"), delivery("e1", subscriber="bill"))
    await take(store, limit=1)

    assert await store.queue_depths(APP) == {"greet": (3, 1, 1), "bill": (1, 0, 0)}


async def test_a_queue_is_bound_to_exactly_what_was_said_last(store: Store) -> None:
    await store.bind(APP, "greet", ["customer.*", "order.placed"])
    await store.bind(APP, "bill", ["order.#", "order.#"])
    await store.bind("bank", "greet", ["x"])

    await store.bind(APP, "greet", ["customer.created", "order.placed"])

    assert sorted(await store.bindings(APP)) == [
        ("bill", "order.#"),
        ("greet", "customer.created"),
        ("greet", "order.placed"),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Enqueue((delivery("e2"),)),
        lambda taken: UpdateDelivery(replace(taken, owner=""), ME),
        lambda _: started("1", owner=""),
        lambda _: came("s1"),
        lambda _: UpdateRun(run("0", status=RunStatus.COMPLETED), hint=True),
    ],
    ids=["enqueued", "updated", "nobody's run", "a signal", "a free place"],
)
async def test_a_hint_comes_for_what_somebody_may_wait_for(
    store: Store, make: Callable[[QueuedDelivery], Write]
) -> None:
    await store.commit(started("0"))
    await enqueue(store, delivery("e1"))
    (taken,) = await take(store)
    hinted = asyncio.Event()
    store.on_hint(hinted.set)

    await store.commit(make(taken))

    async with asyncio.timeout(5):
        assert await hinted.wait()


async def test_no_hint_comes_after_its_subscription_ended(store: Store) -> None:
    hints: list[str] = []
    last = asyncio.Event()
    unsubscribe = store.on_hint(lambda: hints.append("first"))
    store.on_hint(last.set)

    unsubscribe()
    await enqueue(store, delivery("e1"))
    async with asyncio.timeout(5):
        await last.wait()

    assert hints == []
