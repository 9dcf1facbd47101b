"""What is known of a broker's deliveries beyond the life of the process that has them."""

import asyncio
from dataclasses import replace

import pytest

from daemon.store.model import Receipt
from daemon.store.port import Store
from daemon.store.writes import ForgetReceipt, PutReceipt, RecordHandled
from tests.contract.records import APP, GONE, ME, OTHER, handled, receipt

KEY = ("greet", "crm", "customer.created")


async def put(store: Store, *receipts: Receipt) -> None:
    await store.commit(*map(PutReceipt, receipts))


async def claim(store: Store, mark: str = "mark-1", *, owner: str = ME) -> str:
    """Return the id of the event that is found, or nothing."""
    claimed = await store.claim_receipt(APP, "greet", mark, owner)
    return claimed.event_id if claimed else ""


async def test_a_receipt_is_kept_as_it_was_put_last(store: Store) -> None:
    first = receipt("e1", owner=ME, starts=1)
    last = replace(first, owner="", starts=2, attempt=4, due_us=5_000, mark="")
    await put(store, first)
    await put(store, last)

    assert await store.receipt(APP, *KEY, "e1") == last
    assert await store.receipt(APP, *KEY, "e2") is None
    assert await store.receipt("bank", *KEY, "e1") is None


async def test_a_receipt_that_is_forgotten_is_gone_and_no_other(store: Store) -> None:
    await put(store, receipt("e1"), receipt("e2"))

    await store.commit(ForgetReceipt(APP, *KEY, "e1"), ForgetReceipt(APP, *KEY, "never"))

    assert await store.receipt(APP, *KEY, "e1") is None
    assert await store.receipt(APP, *KEY, "e2") == receipt("e2")


async def test_what_is_put_and_forgotten_by_many_at_once_ends_as_each_wanted(store: Store) -> None:
    await put(store, *[receipt(f"e{number}") for number in range(20)])

    changes = [
        store.commit(PutReceipt(receipt(f"e{at}", attempt=2)) if at % 2 else ForgetReceipt(APP, *KEY, f"e{at}"))
        for at in range(20)
    ]
    for change in changes:
        await change

    found = [await store.receipt(APP, *KEY, f"e{number}") for number in range(20)]
    assert found == [receipt(f"e{at}", attempt=2) if at % 2 else None for at in range(20)]


async def test_the_oldest_receipt_with_a_mark_that_nobody_has_is_taken_over_first_and_once(store: Store) -> None:
    await put(store, receipt("e2"), receipt("e1"), receipt("e0", mark="mark-2"), receipt("e-1", mark=""))

    claimed = [await claim(store) for _ in range(3)]

    assert claimed == ["e1", "e2", ""]
    assert await claim(store, "") == ""
    assert await store.receipt(APP, *KEY, "e1") == receipt("e1", owner=ME)


@pytest.mark.parametrize("changes", [{"subscriber": "bill"}, {"app": "bank"}], ids=str)
async def test_a_receipt_of_another_subscriber_or_application_is_not_taken_over(
    store: Store, changes: dict[str, str]
) -> None:
    await put(store, receipt("e1", **changes))

    assert await claim(store) == ""


async def test_a_receipt_is_taken_over_from_the_dead_and_from_nobody_who_lives(store: Store) -> None:
    await store.register(APP, OTHER, lease_s=60)
    await put(store, receipt("e1", owner=OTHER), receipt("e2", owner=ME), receipt("e3", owner=GONE))

    assert [await claim(store), await claim(store)] == ["e3", ""]


async def test_what_a_dead_process_had_done_is_finished_but_not_what_somebody_saw_being_returned(
    store: Store,
) -> None:
    await put(store, receipt("e1", owner=GONE), receipt("e2"), receipt("e3", owner=GONE))
    await store.commit(handled("e1"))
    await store.commit(handled("e2"))

    assert [await claim(store), await claim(store), await claim(store)] == ["e2", "e3", ""]


async def test_two_who_ask_at_once_get_different_receipts(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await put(store, *[receipt(f"e{number}") for number in range(4)])

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(claim(store, owner=owner)) for owner in (ME, OTHER, ME, OTHER)]

    claimed = [asked.result() for asked in asking if asked.result()]
    assert len(set(claimed)) == len(claimed) > 0


async def test_the_hash_of_a_body_is_kept_with_what_is_handled(store: Store) -> None:
    await store.commit(handled("e1", body_hash=b"\x00\xff"))
    await store.commit(RecordHandled(APP, *KEY, "e2", 1_000))

    found = [await store.handled(APP, *KEY, event) for event in ("e1", "e2", "e3")]

    assert found == [b"\x00\xff", b"", None]


async def test_old_receipts_are_forgotten_with_what_was_handled(store: Store) -> None:
    await put(store, *[receipt(f"e{number}", first_seen_us=1_000 + number) for number in range(4)])
    await put(store, receipt("e0", app="bank"))
    await store.commit(handled("h1"))

    forgotten = [await store.prune_handled(APP, before_us=1_003, limit=2) for _ in range(3)]

    assert forgotten == [2, 2, 0]
    left = [await store.receipt(APP, *KEY, f"e{number}") is not None for number in range(4)]
    assert left == [False, False, False, True]
    assert await store.receipt("bank", *KEY, "e0") is not None
