"""What waits for long beside something that goes on: it goes on when its time has come, and not when that has ended."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from daemon import (
    Ref,
    Retry,
    RunStatus,
    SourceStep,
    StepContext,
    WorkflowRun,
    for_each,
    parallelize,
    step,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import PutStep, UpdateChild, Write
from tests.contract.engine.beside import Slow, paying, put_beside, sleeping, waiting_beside
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, SECOND, Paid, ended, reached, tell
from tests.contract.engine.processes import CountingStore, Journal, Process, until

IN_AN_HOUR = Retry(max_attempts=2, delay=HOUR, max_delay=HOUR, jitter=0)


async def test_a_child_goes_on_with_its_event_while_the_step_beside_it_runs(shop: Process, journal: Journal) -> None:
    slow = Slow(journal)
    running = await waiting_beside(shop, put_beside(slow, paying(journal)), slow)

    await tell(shop, Paid(order_id="paid"))
    child = await reached(shop, "b-1:paid", RunStatus.COMPLETED)
    slow.go_on.set()
    run = await running

    assert (run.status, child.steps["last-paid"].state) == (RunStatus.COMPLETED, "completed")
    assert journal == ["first-paid", "last-paid", "slow"]


@pytest.mark.parametrize("everything", [False, True], ids=["hint", "beat"])
async def test_its_event_may_be_taken_in_by_another_process(
    store: Store, clock: ManualClock, journal: Journal, *, everything: bool
) -> None:
    slow, paid = Slow(journal), paying(journal)
    beside = put_beside(slow, paid)
    shop, gate = [await living(store, clock, name) for name in ("shop", "gate")]
    gate.engine.register([beside])
    running = await waiting_beside(shop, beside, slow)

    await shop.engine.heed(everything=everything)
    await tell(gate, Paid(order_id="paid"))
    await shop.engine.heed(everything=everything)
    await reached(shop, "b-1:paid", RunStatus.COMPLETED)
    slow.go_on.set()
    await running

    assert journal == ["first-paid", "last-paid", "slow"]


@pytest.mark.parametrize("waits", ["the step", "the child"])
async def test_an_event_that_comes_while_it_is_written_that_a_child_waits_is_not_overlooked(
    store: Store, clock: ManualClock, journal: Journal, waits: str
) -> None:
    slow = Slow(journal)
    counting = CountingStore(store)
    shop, gate = [await living(each, clock, name) for each, name in ((counting, "shop"), (store, "gate"))]
    beside = put_beside(slow, paying(journal))
    gate.engine.register([beside])

    async def tell_meanwhile(writes: tuple[Write, ...]) -> None:
        if any(_says_that(waits, each) for each in writes):
            counting.before_commit = None
            await tell(gate, Paid(order_id="paid"))
            await shop.engine.heed(everything=False)  # too early: nobody waits yet

    counting.before_commit = tell_meanwhile
    running = asyncio.create_task(beside(shop.container).run(run_id="b-1"))
    await slow.entered.wait()
    await reached(shop, "b-1:paid", RunStatus.COMPLETED)
    slow.go_on.set()
    await running

    assert journal == ["first-paid", "last-paid", "slow"]


def _says_that(waits: str, write: Write) -> bool:
    """Tell whether a write says so: first the step waits for its event, and then the child for that."""
    if waits == "the step":
        return isinstance(write, PutStep) and write.record.awaits != ""
    return isinstance(write, UpdateChild) and write.record.status is RunStatus.WAITING


async def test_a_childs_timer_is_due_while_the_step_beside_it_runs(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    slow = Slow(journal)
    running = await waiting_beside(shop, put_beside(slow, sleeping(journal, DAY)), slow, "slept")

    clock.advance(DAY - SECOND)
    await asyncio.sleep(0)
    early = list(journal)
    clock.advance(SECOND)
    await until(lambda: journal == ["last-slept"], what="the child went on")
    slow.go_on.set()
    run = await running

    assert (run.status, early) == (RunStatus.COMPLETED, [])
    assert journal == ["last-slept", "slow"]


async def test_a_step_is_tried_again_after_long_while_the_step_beside_it_runs(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    slow = Slow(journal)

    @step("again", retry=IN_AN_HOUR)
    async def again(_: None, ctx: StepContext) -> None:
        journal.append(f"again {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError("not yet")

    @workflow("trying")
    def trying() -> None:
        parallelize(again(None), slow.step())

    running = asyncio.create_task(trying(shop.container).run())
    await until(lambda: clock.next_due_s() is not None, what="it waits")
    clock.advance(HOUR)
    await until(lambda: journal == ["again 1", "again 2"], what="it is tried again")
    slow.go_on.set()
    run = await running

    assert (run.status, run.steps["again"].attempts) == (RunStatus.COMPLETED, 2)


async def test_a_report_of_one_item_lets_the_next_begin_while_another_runs(shop: Process, journal: Journal) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("ask", external=True)
    async def ask(item: int) -> int:
        journal.append(f"ask {item}")
        if item == 0:
            entered.set()
            await go_on.wait()
        return item

    @workflow("asking")
    def asking(items: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(items, ask, concurrency=2)

    running = asyncio.create_task(asking(shop.container).run([0, 1, 2], run_id="a-1", wait=True))
    await entered.wait()
    await reached(shop, "a-1", RunStatus.RUNNING, lambda run: "ask[1]" in run.steps)
    await shop.engine.complete_step("a-1", "ask[1]", 10)
    await until(lambda: "ask 2" in journal, what="the third was begun")
    go_on.set()
    for name in ("ask[0]", "ask[2]"):
        await reached(shop, "a-1", RunStatus.WAITING, partial(_waits, name=name))
        await shop.engine.complete_step("a-1", name, 20)
    run = await running

    assert run.result == [20, 10, 20]
    assert journal == ["ask 0", "ask 1", "ask 2"]


def _waits(run: WorkflowRun[Any], *, name: str) -> bool:
    return run.steps[name].state == "waiting"


async def test_what_waits_in_a_group_in_a_child_in_a_group_goes_on_too(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    slow, paid, slept = Slow(journal), paying(journal), sleeping(journal, DAY)

    @workflow("inner")
    def inner() -> None:
        parallelize(paid.as_step(), slept.as_step())
        journal.step("last-inner")()

    running = await waiting_beside(shop, put_beside(slow, inner), slow, "inner")
    clock.advance(DAY)
    await reached(shop, "b-1:inner:slept", RunStatus.COMPLETED)
    waiting = await reached(shop, "b-1:inner", RunStatus.WAITING)
    await tell(shop, Paid(order_id="paid"))
    await reached(shop, "b-1:inner", RunStatus.COMPLETED)
    slow.go_on.set()
    run = await running

    assert (run.status, waiting.waiting_for) == (RunStatus.COMPLETED, "order.paid (wait-for-event-1)")
    assert journal == ["first-paid", "last-slept", "last-paid", "last-inner", "slow"]


async def test_a_run_is_parked_once_all_that_is_left_waits(shop: Process, clock: ManualClock, journal: Journal) -> None:
    slow = Slow(journal)
    beside = put_beside(slow, paying(journal), sleeping(journal, DAY))
    running = await waiting_beside(shop, beside, slow)

    slow.go_on.set()
    parked = await running
    tasks = shop.engine.running
    clock.advance(DAY)
    await until(lambda: "last-slept" in journal, what="the timer is due")
    await reached(shop, "b-1", RunStatus.WAITING, lambda run: run.steps["slept"].state == "completed")
    await tell(shop, Paid(order_id="paid"))
    run = await ended(shop, "b-1")

    assert (parked.status, tasks) == (RunStatus.WAITING, 0)
    waits = "order.paid (wait-for-event-1)", "sleep-1 until 2026-01-02T00:00:00+00:00"
    assert sorted(parked.waiting_for.split(", ")) == list(waits)
    assert run.status is RunStatus.COMPLETED
    assert journal == ["first-paid", "slow", "last-slept", "last-paid"]


async def test_a_run_whose_members_are_due_at_once_is_not_parked_meanwhile(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    slow, children = Slow(journal), [sleeping(journal, DAY, name) for name in ("one", "other")]
    running = await waiting_beside(shop, put_beside(slow, *children), slow, "other")
    await reached(shop, "b-1:one", RunStatus.WAITING)

    slow.go_on.set()
    clock.advance(DAY)
    run = await running

    assert run.status is RunStatus.COMPLETED
    assert sorted(journal) == ["last-one", "last-other", "slow"]


async def test_it_goes_on_after_a_restart(store: Store, clock: ManualClock, journal: Journal) -> None:
    slow = Slow(journal)
    beside = put_beside(slow, paying(journal))
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    running = await waiting_beside(old, beside, slow)

    await old.die()
    slow.entered.clear()
    await new.take_over(beside)
    await slow.entered.wait()
    await tell(new, Paid(order_id="paid"))
    await reached(new, "b-1:paid", RunStatus.COMPLETED)
    slow.go_on.set()
    run = await ended(new, "b-1")

    assert isinstance(await _failure(running), Exception)
    assert run.status is RunStatus.COMPLETED
    assert journal == ["first-paid", "last-paid", "slow"]


async def _failure(running: asyncio.Task[Any]) -> BaseException | None:
    await asyncio.wait([running])
    return running.exception()


async def test_a_compensation_is_tried_again_after_long_while_the_one_beside_it_runs(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def undo_slowly() -> None:
        entered.set()
        await go_on.wait()

    def undo_again() -> None:
        if journal[-1] != "again 1":
            journal.append("again 1")
            raise OSError("not yet")
        journal.append("again 2")

    @workflow("undoing")
    def undoing() -> None:
        parallelize(_undone_by(undo_again, "again")(), _undone_by(undo_slowly, "slow")())
        journal.failing()()

    running = asyncio.create_task(undoing(shop.container).run(raise_on_error=False))
    await entered.wait()
    await until(lambda: clock.next_due_s() is not None, what="it waits")
    clock.advance(HOUR)
    await until(lambda: journal == ["break", "again 1", "again 2"], what="it is tried again")
    go_on.set()
    run = await running

    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["again", "slow"])


def _undone_by(undo: Callable[[], Any], name: str) -> SourceStep[None, Any]:
    @step(name, compensation_retry=IN_AN_HOUR)
    async def act() -> None:
        """Leave something to undo."""

    act.compensate(undo)
    return act
