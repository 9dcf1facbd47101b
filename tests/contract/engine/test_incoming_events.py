"""Events as they come in: from whichever process, at whatever moment, whatever a `match` makes of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import (
    Event,
    Ref,
    Reject,
    RunStatus,
    SourceWorkflow,
    StepContext,
    step,
    wait_for_event,
    workflow,
)
from daemon.clock import ManualClock
from daemon.engine.waiting import topic_of_event
from daemon.events.model import Envelope
from daemon.store.port import Store
from daemon.store.writes import UpdateRun, Write
from daemon.workflow.nodes import WaitNode
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, Paid, ended, reached, tell, to_the_next_timer
from tests.contract.engine.processes import APP, CountingStore, Journal, Process


def waiting_for(order_id: str, name: str = "waiting", **options: Any) -> SourceWorkflow[Paid]:
    """Return a workflow that waits for the payment of an order."""

    @workflow(name)
    def wait() -> Ref[Paid]:
        return wait_for_event(Paid, key=order_id, match=lambda event: event.order_id, **options)

    return wait


@pytest.mark.parametrize("everything", [False, True], ids=["hint", "beat"])
async def test_an_event_may_be_taken_in_by_another_process_than_the_runs(
    store: Store, clock: ManualClock, *, everything: bool
) -> None:
    wait = waiting_for("17")
    shop, gate = [await living(store, clock, name) for name in ("shop", "gate")]
    gate.engine.register([wait])
    hints: list[None] = []
    unsubscribe = store.on_hint(lambda: hints.append(None))

    await wait(shop.container).run(run_id="w-1")
    await shop.engine.heed(everything=everything)
    await tell(gate, Paid(order_id="17", cents=5))
    await shop.engine.heed(everything=everything)
    run = await wait(shop.container).run(run_id="w-1", wait=True)
    unsubscribe()

    assert (run.result.cents, bool(hints)) == (5, True)


async def test_an_event_that_comes_while_nobody_drives_the_run_is_there_for_the_heir(
    store: Store, clock: ManualClock
) -> None:
    wait = waiting_for("17", timeout=DAY)
    old, gate, heir = [await living(store, clock, name) for name in ("old", "gate", "heir")]
    gate.engine.register([wait])

    await wait(old.container).run(run_id="w-1")
    await old.die()
    await tell(gate, Paid(order_id="17", cents=5))
    clock.advance(2 * DAY)
    await heir.take_over(wait)
    run = await wait(heir.container).run(run_id="w-1", wait=True)

    assert run.result.cents == 5


async def test_a_wait_goes_on_in_the_heir_until_the_same_moment(store: Store, clock: ManualClock) -> None:
    wait = waiting_for("17", timeout=2 * DAY)
    old, heir = [await living(store, clock, name) for name in ("old", "heir")]

    await wait(old.container).run(run_id="w-1")
    clock.advance(DAY)
    await old.die()
    await heir.take_over(wait)
    left = await to_the_next_timer(clock)
    run = await ended(heir, "w-1")

    assert (left, run.status, run.errors[0].attempts[0].type) == (DAY, RunStatus.REVERTED, "WaitTimeout")


async def test_an_event_that_is_delivered_twice_is_one(shop: Process, journal: Journal) -> None:
    after = journal.step("after")

    @workflow("twice")
    def twice() -> Ref[Paid]:
        paid = wait_for_event(Paid, key="17", match=lambda event: event.order_id)
        after()
        return paid

    await twice(shop.container).run(run_id="t-1")
    await tell(shop, Paid(order_id="17", cents=1))
    await tell(shop, Paid(order_id="17", cents=2))
    run = await twice(shop.container).run(run_id="t-1", wait=True)
    await tell(shop, Paid(order_id="17", cents=3))

    assert (run.result.cents, journal) == (1, ["after"])


async def test_a_match_that_raises_does_not_keep_the_event_from_others(shop: Process) -> None:
    before, after = waiting_for("17", "a-before"), waiting_for("17", "z-after")

    @workflow("m-broken")
    def broken() -> None:
        wait_for_event(Paid, key=1.5, match=lambda event: 3 / event.cents)

    for each in (before, broken, after):
        await each(shop.container).run(run_id=each.name)
    with pytest.raises(ZeroDivisionError):
        await tell(shop, Paid(order_id="17", cents=0))
    ended = [await each(shop.container).run(run_id=each.name, wait=True) for each in (before, after)]
    with pytest.raises(ZeroDivisionError):  # as it is tried again
        await tell(shop, Paid(order_id="17", cents=0))
    await tell(shop, Paid(order_id="18", cents=2), "event-2")
    run = await broken(shop.container).run(run_id="m-broken", wait=True)

    assert [each.status for each in (*ended, run)] == [RunStatus.COMPLETED] * 3


async def test_what_nobody_can_be_waiting_for_is_not_kept(shop: Process, clock: ManualClock) -> None:
    wait = waiting_for("17")
    shop.engine.register([wait])
    [node] = [node for node in wait.graph.nodes if isinstance(node, WaitNode)]
    topic = topic_of_event("waiting", node, "17")

    await tell(shop, Paid(order_id="17"))
    kept = [await shop.store.signal(APP, topic, 0)]
    await wait(shop.container).run(run_id="w-1")
    await tell(shop, Paid(order_id="17"), "event-2")
    kept.append(await shop.store.signal(APP, topic, 0))
    await wait(shop.container).run(run_id="w-1", wait=True)
    clock.advance(DAY)
    pruned = await shop.store.prune_signals(APP, topic_prefix="event/waiting/", before_us=clock.now_us(), limit=10)

    assert kept[0] is None
    assert kept[1] is not None
    assert (kept[1].id, pruned) == ("bank:event-2", 1)


async def test_two_classes_of_one_event_each_get_what_they_know_of_it(shop: Process) -> None:
    class Narrow(Event, name="order.returned"):
        order_id: str

    class Wide(Event, name="order.returned"):
        order_id: str
        why: str = "unknown"

    @workflow("narrow")
    def narrow() -> Ref[Narrow]:
        return wait_for_event(Narrow, key="17", match=lambda event: event.order_id)

    @workflow("wide")
    def wide() -> Ref[Wide]:
        return wait_for_event(Wide, key="17", match=lambda event: event.order_id)

    for each in (narrow, wide):
        await each(shop.container).run(run_id=each.name)
    envelope = Envelope("event-1", "order.returned", shop.clock.now(), "bank")
    read = shop.engine.incoming.models()["order.returned"].model_validate
    with pytest.raises(Reject, match=r"The payload does not fit .*Wide: why: Input should be a valid string"):
        await shop.engine.take_event(read({"order_id": "18", "why": 3}), envelope)
    await shop.engine.take_event(read({"order_id": "17", "why": "broken"}), envelope)
    narrowly = await narrow(shop.container).run(run_id="narrow", wait=True)
    widely = await wide(shop.container).run(run_id="wide", wait=True)

    assert (narrowly.result, widely.result) == (Narrow(order_id="17"), Wide(order_id="17", why="broken"))


async def test_an_event_that_comes_while_the_run_lets_go_is_not_missed(store: Store, clock: ManualClock) -> None:
    counting, wait = CountingStore(store), waiting_for("17")
    shop, gate = await living(counting, clock, "shop"), await living(store, clock, "gate")
    gate.engine.register([wait])

    async def tell_first(writes: tuple[Write, ...]) -> None:
        if isinstance(writes[0], UpdateRun) and writes[0].record.status is RunStatus.WAITING:
            await tell(gate, Paid(order_id="17", cents=5))

    counting.before_commit = tell_first
    run = await wait(shop.container).run(run_id="w-1", wait=True)

    assert run.result.cents == 5


class Door:
    """A service that takes its time to close."""


@pytest.mark.parametrize("others", [0, 1])
async def test_an_event_that_comes_while_the_runs_services_close_is_not_missed(shop: Process, others: int) -> None:
    closing, closed = asyncio.Event(), asyncio.Event()

    async def door() -> AsyncIterator[Door]:
        yield Door()
        closing.set()
        await closed.wait()

    shop.registry.register_factory(Door, door)

    @step("enter")
    async def enter(order_id: str, ctx: StepContext) -> str:
        await ctx.container.aget(Door)
        return order_id

    @workflow("entering")
    def entering(order_id: Ref[str]) -> Ref[Paid]:
        return wait_for_event(Paid, key=enter(order_id), match=lambda event: event.order_id)

    for number in range(others):  # that are parked already
        await waiting_for("18")(shop.container).run(run_id=f"other-{number}")
    starting = asyncio.create_task(entering(shop.container).run("17", run_id="e-1", wait=True))
    await closing.wait()
    await tell(shop, Paid(order_id="17", cents=5))
    closed.set()
    await reached(shop, "e-1", RunStatus.COMPLETED)

    assert (await starting).result.cents == 5
