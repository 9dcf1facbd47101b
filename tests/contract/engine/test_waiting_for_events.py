"""`wait_for_event`: which events a run goes on with, and when."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from daemon import Ref, RunStatus, Workflow, sleep, transform, wait_for_event, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import RequireNoSignal, Write
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, Paid, Shipped, ended, reached, tell, to_the_next_timer
from tests.contract.engine.processes import CountingStore, Journal, Process


def paying(journal: Journal, **options: Any) -> Workflow[str, Paid]:
    """Return a workflow that waits for the payment of its order."""
    first = journal.step("first")

    @workflow("paying")
    def pay(order_id: Ref[str]) -> Ref[Paid]:
        first()
        return wait_for_event(Paid, key=order_id, match=lambda event: event.order_id, **options)

    return pay


async def test_an_event_that_comes_while_a_run_waits_lets_it_go_on(shop: Process, journal: Journal) -> None:
    pay = paying(journal)

    parked = await pay(shop.container).run("17", run_id="p-1")
    tasks = shop.engine.running
    await tell(shop, Paid(order_id="17", cents=500))
    run = await pay(shop.container).run("17", run_id="p-1", wait=True)

    assert (parked.status, parked.waiting_for, tasks) == (
        RunStatus.WAITING,
        "order.paid (wait-for-event-1)",
        0,
    )
    assert run.result == Paid(order_id="17", cents=500)
    assert type(run.result) is Paid
    assert (run.steps["wait-for-event-1"].output, journal) == (run.result, ["first"])


async def test_an_event_that_came_after_the_start_and_before_the_wait_counts(shop: Process, clock: ManualClock) -> None:
    @workflow("late-to-wait")
    def late_to_wait(order_id: Ref[str]) -> Ref[Paid]:
        sleep(DAY)
        return wait_for_event(Paid, key=order_id, match=lambda event: event.order_id)

    await late_to_wait(shop.container).run("17", run_id="l-1")
    clock.advance(HOUR)
    await tell(shop, Paid(order_id="17", cents=500))
    await to_the_next_timer(clock)
    run = await late_to_wait(shop.container).run("17", run_id="l-1", wait=True)

    assert run.result.cents == 500


async def test_an_event_from_before_the_start_does_not_count(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    pay = paying(journal)

    await pay(shop.container).run("16", run_id="p-0")  # without any the event would not be kept at all
    await tell(shop, Paid(order_id="17", cents=1), "too-early")
    clock.advance(timedelta(microseconds=1))
    early = await pay(shop.container).run("17", run_id="p-1")
    await tell(shop, Paid(order_id="17", cents=2), "in-time")
    run = await pay(shop.container).run("17", run_id="p-1", wait=True)

    assert (early.status, run.result.cents) == (RunStatus.WAITING, 2)


async def test_every_run_whose_key_matches_goes_on_and_no_other(shop: Process, journal: Journal) -> None:
    pay = paying(journal)

    for run_id, key in (("p-1", "17"), ("p-2", "17"), ("p-3", "18")):
        await pay(shop.container).run(key, run_id=run_id)
    await tell(shop, Paid(order_id="17", cents=500))
    ended = [await pay(shop.container).run("17", run_id=run_id, wait=True) for run_id in ("p-1", "p-2")]
    other = await shop.engine.get("p-3")

    assert [run.result.cents for run in ended] == [500, 500]
    assert (other.status, shop.engine.running) == (RunStatus.WAITING, 0)


async def test_a_run_goes_on_with_the_first_of_several(shop: Process, clock: ManualClock) -> None:
    @workflow("late-to-wait")
    def late_to_wait(order_id: Ref[str]) -> Ref[Paid]:
        sleep(DAY)
        return wait_for_event(Paid, key=order_id, match=lambda event: event.order_id)

    await late_to_wait(shop.container).run("17", run_id="l-1")
    for cents in (3, 1, 2):
        await tell(shop, Paid(order_id="17", cents=cents), f"event-{cents}")
        clock.advance(HOUR)
    await to_the_next_timer(clock)
    run = await late_to_wait(shop.container).run("17", run_id="l-1", wait=True)

    assert run.result.cents == 3


async def test_two_waits_of_one_run_each_take_the_first_event_that_matches(shop: Process, journal: Journal) -> None:
    between = journal.step("between")

    @workflow("twice")
    def twice(order_id: Ref[str]) -> Ref[list[int]]:
        first = wait_for_event(Paid, key=order_id, match=lambda event: event.order_id)
        large = wait_for_event(
            Paid,
            key=True,
            match=lambda event: event.cents > 100,
            name="large",
            timeout=DAY,
        )
        between()
        same = wait_for_event(Paid, key=order_id, match=lambda event: event.order_id)
        return transform(first, large, same, lambda a, b, c: [a.cents, b.cents, c.cents])

    await twice(shop.container).run("17", run_id="t-1")
    await tell(shop, Paid(order_id="17", cents=1), "event-1")
    await reached(shop, "t-1", RunStatus.WAITING, lambda run: "large" in run.waiting_for)
    await tell(shop, Paid(order_id="17", cents=101), "event-2")
    run = await twice(shop.container).run("17", run_id="t-1", wait=True)

    assert run.result == [1, 101, 1]


async def test_a_child_waits_for_events_that_came_since_the_run_at_the_top_started(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    pay = paying(journal)

    @workflow("parent")
    def parent(order_id: Ref[str]) -> Ref[list[int]]:
        sleep(DAY)
        before = pay.as_step(order_id)
        other = pay.as_step("18", name="other")
        return transform(before, other, lambda a, b: [a.cents, b.cents])

    await parent(shop.container).run("17", run_id="p-1")
    await tell(shop, Paid(order_id="17", cents=17))
    await to_the_next_timer(clock)
    waiting = await reached(shop, "p-1:other", RunStatus.WAITING)
    await tell(shop, Paid(order_id="18", cents=18), "event-2")
    run = await parent(shop.container).run("17", run_id="p-1", wait=True)

    assert (waiting.waiting_for, run.result) == ("order.paid (wait-for-event-1)", [17, 18])


class Place(BaseModel):
    """Where something is."""

    town: str
    streets: dict[str, int]


HERE = Place(town="Ulm", streets={"a": 1, "b": 2})
THERE = Place(town="Ulm", streets={"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("key", "same", "other"),
    [
        (UUID(int=17), UUID(int=17), UUID(int=18)),
        (17, 17, 18),
        ("ä" * 5_000, "ä" * 5_000, "ä" * 5_001),
        (HERE, THERE, Place(town="Ulm", streets={})),
        (None, None, 0),
        (("a", 1), ("a", 1), ("a", 2)),
    ],
)
async def test_a_key_may_be_any_value_that_has_json(shop: Process, key: Any, same: Any, other: Any) -> None:
    @workflow("keyed")
    def keyed() -> Ref[Shipped]:
        return wait_for_event(Shipped, key=key, match=lambda event: same if event.order_id == "same" else other)

    await keyed(shop.container).run(run_id="k-1")
    await tell(shop, Shipped(order_id="other"), "event-1")
    meanwhile = await shop.engine.get("k-1")
    await tell(shop, Shipped(order_id="same"), "event-2")
    await reached(shop, "k-1", RunStatus.COMPLETED)
    run = await shop.engine.get("k-1")

    assert (meanwhile.status, run.result.order_id) == (RunStatus.WAITING, "same")


async def test_no_event_in_time_fails_the_run(shop: Process, clock: ManualClock, journal: Journal) -> None:
    pay = paying(journal, timeout=2 * DAY)

    await pay(shop.container).run("17", run_id="p-1")
    waited = await to_the_next_timer(clock)
    run = await ended(shop, "p-1")
    await tell(shop, Paid(order_id="17"))

    assert (waited, run.status, journal) == (2 * DAY, RunStatus.REVERTED, ["first", "undo first"])
    assert "WaitTimeout: 'wait-for-event-1' got no 'order.paid' within 172800 s" in str(run.failure())
    assert run.steps["wait-for-event-1"].state == "failed"


@pytest.mark.parametrize("is_first", [True, False])
async def test_an_event_at_the_very_end_counts_or_not_and_never_half(
    store: Store, clock: ManualClock, journal: Journal, *, is_first: bool
) -> None:
    counting, gate = CountingStore(store), await living(store, clock, "gate")
    shop, pay = await living(counting, clock, "shop"), paying(journal, timeout=DAY)
    gate.engine.register([pay])

    async def tell_then(writes: tuple[Write, ...]) -> None:
        asked = writes if is_first else (counting.commits or [()])[-1]
        if any(isinstance(write, RequireNoSignal) for write in asked):
            await tell(gate, Paid(order_id="17"))

    await pay(shop.container).run("17", run_id="p-1")
    counting.before_commit = tell_then
    await to_the_next_timer(clock)
    run = await ended(shop, "p-1")

    assert run.status is (RunStatus.COMPLETED if is_first else RunStatus.REVERTED)


async def test_a_run_that_waits_is_cancelled_at_once(shop: Process, journal: Journal) -> None:
    pay = paying(journal)

    await pay(shop.container).run("17", run_id="p-1")
    run = await shop.engine.cancel("p-1", wait=True)
    await tell(shop, Paid(order_id="17"))

    assert (run.status, journal) == (RunStatus.CANCELLED, ["first", "undo first"])
    assert run.steps["wait-for-event-1"].state == "skipped"


async def test_a_key_without_a_json_form_fails_the_run(shop: Process) -> None:
    @workflow("unkeyed")
    def unkeyed(value: Ref[str]) -> None:
        wait_for_event(Paid, key=transform(value, lambda _: object()), match=lambda event: event.order_id)

    run = await unkeyed(shop.container).run("17", raise_on_error=False)

    assert [error.step for error in run.errors] == ["wait-for-event-1"]
