"""What a daemon deletes when it was kept for long enough, and what it never deletes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from daemon import Event, Ref, RunStatus, step, wait_for_event, workflow
from daemon.clock import ManualClock
from daemon.events.model import Envelope
from daemon.store.job_model import FiringState
from daemon.store.port import RunFilter, Store
from daemon.workflow.workflow import WorkflowBase
from tests.contract.engine.kept import DAY, KEEP, keep_old_runs, left, retention, working
from tests.contract.engine.processes import APP, Journal, Process, until
from tests.contract.records import came, fire, firing, handled


class Paid(Event, name="retention.paid"):
    id: str


@step("sign", external=True)
async def sign(order_id: str) -> str:
    return order_id


@workflow("collect")
def collect(order_id: Ref[str]) -> Ref[Paid]:
    return wait_for_event(Paid, key=order_id, match=lambda event: event.id)


@workflow("order-and-collect")
def order_and_collect(order_id: Ref[str]) -> Ref[Paid]:
    sign(order_id)
    return collect.as_step(order_id)


async def test_a_run_that_ended_long_ago_goes_with_its_children_and_its_steps(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    act = journal.step("act")

    @workflow("retained-child")
    def child() -> None:
        act()

    @workflow("retained-parent")
    def parent() -> None:
        child.as_step()

    old = await parent(shop.container).run(run_id="old")
    clock.advance(KEEP)
    young = await parent(shop.container).run(run_id="young")
    clock.advance(timedelta(hours=1))

    counts = await retention(shop, clock).apply()

    assert counts == {"runs": 1, "events": 0, "firings": 0, "signals": 0}
    assert await left(shop.store) == ["young", "young:retained-child"]
    steps = await shop.store.steps([old.record.key, young.record.key])
    assert {key: len(each) for key, each in steps.items()} == {old.record.key: 0, young.record.key: 1}


async def test_a_run_that_has_not_ended_stays_whatever_its_age(shop: Process, clock: ManualClock) -> None:
    await order_and_collect(shop.container).run("17", run_id="waiting")
    clock.advance(100 * KEEP)

    counts = await retention(shop, clock).apply()

    assert counts["runs"] == 0
    await shop.engine.complete_step("waiting", "sign", "signed")
    await until(lambda: not shop.engine.running)
    assert (await shop.engine.get("waiting")).waiting_for != ""


@pytest.mark.parametrize("own", [DAY, 2 * KEEP], ids=["shorter", "longer"])
async def test_a_workflow_says_for_how_long_its_own_runs_are_kept(
    shop: Process, clock: ManualClock, journal: Journal, own: timedelta
) -> None:
    act = journal.step("act")

    @workflow("kept-as-it-says", retention=own)
    def as_it_says() -> None:
        act()

    @workflow("kept-as-configured")
    def as_configured() -> None:
        act()

    kept: list[tuple[timedelta, list[str]]] = []
    for each in (as_it_says, as_configured):
        await each(shop.container).run(run_id=each.name)
    for age in sorted((own, KEEP)):
        clock.advance(age - (kept[-1][0] if kept else timedelta()) + timedelta(seconds=1))
        await retention(shop, clock).apply()
        kept.append((age, await left(shop.store)))

    first = "kept-as-configured" if own < KEEP else "kept-as-it-says"
    assert kept == [(min(own, KEEP), [first]), (max(own, KEEP), [])]


async def test_zero_keeps_everything_but_what_a_workflow_gives_a_time(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    await keep_old_runs(store, clock, 1)
    await store.commit(handled("e1"))
    await fire(store, firing(1, state=FiringState.MISSED), firing(2))

    @workflow("short-lived", retention=DAY)
    def short_lived() -> None: ...

    await short_lived(shop.container).run(run_id="short")
    clock.advance(2 * DAY)

    counts = await retention(shop, clock, keep=timedelta()).apply()

    assert counts == {"runs": 1, "events": 0, "firings": 0, "signals": 0}
    assert await left(store) == ["run-old-0"]


async def test_what_is_known_of_events_and_firings_goes_but_for_the_last_of_each_job(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    for at_us in (1, 2):
        await fire(store, firing(at_us, state=FiringState.COMPLETED, ended_us=3))
    await store.commit(handled("old"), handled("young", handled_us=clock.now_us()))

    counts = await retention(shop, clock).apply()

    assert counts == {"runs": 0, "events": 1, "firings": 1, "signals": 0}
    known = [await store.handled(APP, "greet", "crm", "customer.created", each) for each in ("old", "young")]
    assert known == [None, b"hash"]
    assert [each.scheduled_us for each in await store.firings(APP, "nightly", limit=10)] == [2]


async def test_many_are_deleted_in_batches_with_a_pause_in_between(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    await keep_old_runs(store, clock, 1_200)
    seen = []

    async with working(retention(shop, clock)):
        for pause_s in (0.0, 0.1, 0.1):
            clock.advance(timedelta(seconds=pause_s))
            await until(lambda: clock.next_due_s() is not None)
            seen.append(len((await store.runs(APP, RunFilter(), after=None, limit=2_000)).records))

    assert seen == [700, 200, 0]


# --- signals ---


@pytest.fixture
def pay(shop: Process, clock: ManualClock) -> Callable[[str], Any]:
    """Publish that something was paid for."""
    shop.engine.register([collect, order_and_collect])

    async def publish(order_id: str) -> None:
        event = Paid(id=order_id)
        await shop.engine.take_event(
            event, Envelope(id=order_id, name="retention.paid", time=clock.now(), source="bank")
        )

    return publish


async def signalled(store: Store, flow: WorkflowBase, order_id: str) -> bool:
    return await store.signal(APP, f'event/{flow.name}/wait-for-event-1/"{order_id}"', 0) is not None


async def test_an_event_is_kept_as_long_as_a_run_may_come_to_where_it_is_waited_for(
    store: Store, shop: Process, clock: ManualClock, pay: Callable[[str], Any]
) -> None:
    await order_and_collect(shop.container).run("17", run_id="order")
    clock.advance(DAY)
    await pay("17")
    clock.advance(DAY)

    await retention(shop, clock).apply()
    is_kept = await signalled(store, collect, "17")
    await shop.engine.complete_step("order", "sign", "signed")
    await until(lambda: not shop.engine.running)

    assert is_kept
    assert (await shop.engine.get("order")).status is RunStatus.COMPLETED


async def test_an_event_that_nobody_can_wait_for_any_more_is_deleted(
    store: Store, shop: Process, clock: ManualClock, pay: Callable[[str], Any]
) -> None:
    @workflow("unrelated")
    def unrelated(order_id: Ref[str]) -> None:
        sign(order_id)

    await unrelated(shop.container).run("1", run_id="unrelated")
    counted = []
    for order_id in ("17", "18"):
        await collect(shop.container).run(order_id, run_id=order_id)
        await pay(order_id)
        await until(lambda: not shop.engine.running)
        clock.advance(timedelta(hours=1))
        if order_id == "17":
            await collect(shop.container).run("19", run_id="19")
        counted.append((await retention(shop, clock).apply())["signals"])
    still = await signalled(store, collect, "18")
    await pay("19")
    await until(lambda: not shop.engine.running)
    clock.advance(timedelta(hours=1))
    counted.append((await retention(shop, clock).apply())["signals"])

    assert (counted, still) == ([1, 0, 2], True)
    assert (await shop.engine.get("unrelated")).status is RunStatus.WAITING


async def test_what_was_reported_of_steps_is_deleted_when_no_older_run_goes_on(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    await store.commit(came("output", topic="step/gone/sign/1", at_us=clock.now_us()))
    clock.advance(DAY)
    await order_and_collect(shop.container).run("17", run_id="order")
    await shop.engine.complete_step("order", "sign", "signed")
    await until(lambda: not shop.engine.running)
    key = (await shop.engine.get("order")).record.key
    clock.advance(DAY)

    counts = await retention(shop, clock).apply()

    assert counts["signals"] == 1
    assert await store.signal(APP, f"step/{key}/sign/1", 0) is not None


async def test_a_run_in_the_midst_of_being_stored_finds_its_event(
    store: Store, shop: Process, clock: ManualClock
) -> None:
    await store.commit(came("early", topic='event/collect/wait-for-event-1/"17"', at_us=clock.now_us()))
    clock.advance(timedelta(seconds=30))

    counts = await retention(shop, clock).apply()

    assert counts["signals"] == 0
