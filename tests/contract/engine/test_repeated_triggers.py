"""Runs whose trigger comes again if their process dies: their start is written with what they write first."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daemon import Ref, RunStatus, sleep, step, workflow
from daemon.activation import Activation, Trigger, activated
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.outside import DAY
from tests.contract.engine.processes import CountingStore, Journal, Process, until


@contextmanager
def handling(event_id: str = "event-1", *, may_defer: bool = True) -> Iterator[None]:
    """Do something as the handling of an event, which comes again if the process dies."""
    trigger = Trigger("event", "hello-customer", event_id)
    with activated(Activation(trigger, ("crm", "customer.created", event_id), event_id, may_defer=may_defer)):
        yield


def _three(journal: Journal, *, fails: bool = False) -> SourceWorkflow[None]:
    steps = [journal.step(f"step-{index}") for index in range(3)]

    @workflow("three")
    def three() -> None:
        for each in steps:
            each()
        if fails:
            journal.failing()()

    return three


async def test_a_run_of_n_steps_needs_n_writes(store: Store, clock: ManualClock, journal: Journal) -> None:
    counting = CountingStore(store)
    process = await living(counting, clock, "process-1")

    with handling():
        run = await _three(journal)(process.container).run()

    assert run.status is RunStatus.COMPLETED
    assert len(counting.commits) == 3
    assert (await process.engine.get(run.run_id)).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("may_defer", "idempotent", "transactions"), [(False, 0, 6), (True, 0, 5), (False, 2, 4), (True, 2, 3)]
)
async def test_each_write_of_a_run_is_one_transaction_of_its_database(
    store: Store, clock: ManualClock, journal: Journal, *, may_defer: bool, idempotent: int, transactions: int
) -> None:
    counting = CountingStore(store)
    process = await living(counting, clock, "process-1")
    steps = [journal.step(f"step-{at}", idempotent=at % 2 == 1 and at // 2 < idempotent) for at in range(5)]

    @workflow("five")
    def five() -> None:
        for each in steps:
            each()

    before = getattr(store, "transactions", 0)
    with handling(may_defer=may_defer):
        await five(process.container).run()
    databases = getattr(store, "transactions", transactions) - before  # memory has none

    assert (len(counting.commits), databases) == (transactions, transactions)


async def test_a_run_that_undoes_nothing_needs_one_write(store: Store, clock: ManualClock, journal: Journal) -> None:
    counting = CountingStore(store)
    process = await living(counting, clock, "process-1")
    broken = journal.failing()

    @workflow("nothing-undone")
    def nothing_undone() -> None:
        broken()

    with handling():
        run = await nothing_undone(process.container).run(raise_on_error=False)

    assert (run.status, len(counting.commits)) == (RunStatus.REVERTED, 1)
    assert [error.step for error in (await process.engine.get(run.run_id)).errors] == [broken.name]


async def test_a_run_with_an_id_of_its_own_is_on_disk_before_its_first_step(shop: Process) -> None:
    seen = []

    @step("look")
    async def look() -> None:
        seen.append(await shop.store.run("shop", "own-1"))

    @workflow("looking")
    def looking() -> None:
        look()

    with handling():
        await looking(shop.container).run(run_id="own-1")

    assert [record is not None for record in seen] == [True]


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("fails", [True, False])
async def test_a_crash_at_any_commit_ends_as_without_it_once_the_trigger_comes_again(
    store: Store, clock: ManualClock, *, committed: bool, fails: bool
) -> None:
    at, died = 0, True
    while died:
        at += 1
        journal = Journal()
        three = _three(journal, fails=fails)
        mortal = Mortal(store, clock, at=at, committed=committed, owner=f"mortal-{at}")

        with handling(f"event-{at}"):
            died = await mortal.live(three(mortal.process.container).run(raise_on_error=False))
        heir = await living(store, clock, f"heir-{at}")
        await heir.take_over(three)
        with handling(f"event-{at}"):
            run = await three(heir.container).run(raise_on_error=False, wait=True)

        assert run.status is (RunStatus.REVERTED if fails else RunStatus.COMPLETED)
        assert run.compensated == (["step-2", "step-1", "step-0"] if fails else [])
        if not fails:  # one that was rolled back is tried afresh when its trigger comes again
            assert run.attempt == 1
            assert all(f"step-{index}" in journal for index in range(3))
            assert len(journal) <= 4  # one may have been in doubt
        await heir.die()

    assert at >= 4


async def test_two_processes_with_the_same_trigger_end_with_one_run(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    one, two = [await living(store, clock, name) for name in ("one", "two")]
    entered, go_on = [asyncio.Event(), asyncio.Event()], asyncio.Event()
    second = journal.step("second")

    @step("first")
    async def first() -> str:
        journal.append("first")
        next(each for each in entered if not each.is_set()).set()
        await go_on.wait()
        return "first"

    @workflow("both")
    def both() -> Ref[str]:
        found = first()
        second()
        return found

    running = []
    for process, begun in zip((one, two), entered, strict=True):
        with handling():
            running.append(asyncio.create_task(both(process.container).run(wait=True)))
        await begun.wait()
    go_on.set()
    await until(lambda: running[0].done() or running[1].done())
    await until(lambda: clock.next_due_s() == 0.25 or all(each.done() for each in running), what="the other looks")
    while not all(each.done() for each in running):
        clock.advance(DAY / 86_400)
        await asyncio.sleep(0.001)
    runs = await asyncio.gather(*running)

    assert {run.run_id for run in runs} == {runs[0].run_id}
    assert [run.result for run in runs] == ["first", "first"]
    assert journal.count("second") == 1
    assert {run.attempt for run in runs} == {1}


async def test_a_run_that_waits_for_long_is_on_disk(shop: Process) -> None:
    @workflow("sleeping")
    def sleeping() -> None:
        sleep(DAY)

    with handling():
        run = await sleeping(shop.container).run()
    stored = await shop.store.run("shop", run.run_id)

    assert stored is not None
    assert stored.status is RunStatus.WAITING


async def test_a_run_is_on_disk_when_nobody_waits_for_it_any_more(shop: Process) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("slow")
    async def slow() -> None:
        entered.set()
        await go_on.wait()

    @workflow("slowly")
    def slowly() -> None:
        slow()

    with handling():
        handler = asyncio.create_task(slowly(shop.container).run())
    await entered.wait()
    (run_id,) = shop.engine._live
    before = await shop.store.run("shop", run_id)
    handler.cancel()
    await asyncio.wait([handler])
    await until(lambda: not shop.engine._rescues)

    assert before is None
    assert await shop.store.run("shop", run_id) is not None
    go_on.set()


async def test_it_can_be_cancelled_before_it_is_on_disk(shop: Process) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("slow")
    async def slow() -> None:
        entered.set()
        await go_on.wait()

    @workflow("slowly")
    def slowly() -> None:
        slow()

    with handling():
        handler = asyncio.create_task(slowly(shop.container).run(raise_on_error=False))
    await entered.wait()
    (run_id,) = shop.engine._live
    await shop.engine.cancel(run_id)
    go_on.set()
    run = await handler

    assert run.status is RunStatus.CANCELLED
