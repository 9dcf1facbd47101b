"""Reports of external steps: from other processes, in groups and children, when time is up, and across crashes."""

import asyncio
from typing import Any

import pytest

from daemon import Ref, RunStateError, RunStatus, SourceWorkflow, parallelize, step, transform, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import PutSignal, RequireNoSignal, Write
from tests.contract.engine.asking import ANN, BOB, approving, asking
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, ended, reached, to_the_next_timer
from tests.contract.engine.processes import CountingStore, Journal, Process


def _two(journal: Journal) -> SourceWorkflow[Any]:
    ann, bob = asking(journal, "ask-ann"), asking(journal, "ask-bob")

    @workflow("two")
    def two() -> Ref[list[str]]:
        return transform(*parallelize(ann("a"), bob("b")), lambda a, b: [a.by, b.by])

    return two


@pytest.mark.parametrize("order", [["ask-ann", "ask-bob"], ["ask-bob", "ask-ann"]])
async def test_members_of_a_group_are_reported_in_any_order(shop: Process, journal: Journal, order: list[str]) -> None:
    two, said = _two(journal), {"ask-ann": ANN, "ask-bob": BOB}

    parked = await two(shop.container).run(run_id="t-1")
    await shop.engine.complete_step("t-1", order[0], said[order[0]])
    await reached(shop, "t-1", RunStatus.WAITING, lambda run: run.waiting_for == f"the outcome of {order[1]}")
    await shop.engine.complete_step("t-1", order[1], said[order[1]])
    run = await two(shop.container).run(run_id="t-1", wait=True)

    assert sorted(parked.waiting_for.split(", ")) == ["the outcome of ask-ann", "the outcome of ask-bob"]
    assert (run.result, journal) == (["Ann", "Bob"], ["ask-ann a 1", "ask-bob b 1"])


async def test_members_of_a_group_may_be_reported_at_the_same_time(shop: Process, journal: Journal) -> None:
    two = _two(journal)

    await two(shop.container).run(run_id="t-1")
    await asyncio.gather(
        shop.engine.complete_step("t-1", "ask-ann", ANN), shop.engine.complete_step("t-1", "ask-bob", BOB)
    )
    run = await two(shop.container).run(run_id="t-1", wait=True)

    assert run.result == ["Ann", "Bob"]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_an_outcome_is_taken_while_the_step_beside_it_runs(shop: Process, journal: Journal, outcome: str) -> None:
    ask, entered, go_on = asking(journal), asyncio.Event(), asyncio.Event()

    @step("slow")
    async def slow() -> str:
        entered.set()
        await go_on.wait()
        return "slow"

    @workflow("beside")
    def beside() -> Ref[list[str]]:
        return transform(*parallelize(ask("a"), slow()), lambda a, b: [a.by, b])

    await beside(shop.container).run(run_id="b-1", wait=False)
    await entered.wait()
    await reached(shop, "b-1", RunStatus.RUNNING, lambda run: "ask" in run.steps and run.steps["ask"].attempts)
    if outcome == "completed":
        await shop.engine.complete_step("b-1", "ask", ANN)
    else:
        await shop.engine.fail_step("b-1", "ask", "no")
    await reached(shop, "b-1", RunStatus.RUNNING, lambda run: run.steps["ask"].state == outcome)
    with pytest.raises(RunStateError, match=f"waits for no report: it is {outcome}"):
        await shop.engine.complete_step("b-1", "ask", ANN)
    go_on.set()
    run = await ended(shop, "b-1")

    assert run.status is (RunStatus.COMPLETED if outcome == "completed" else RunStatus.REVERTED)
    assert journal == ["ask a 1", *([] if outcome == "completed" else ["undo ask None"])]


async def test_a_step_that_waits_is_undone_when_the_step_beside_it_fails(shop: Process, journal: Journal) -> None:
    ask, broken = asking(journal), journal.failing()

    @workflow("doomed")
    def doomed() -> None:
        parallelize(ask("a"), broken())

    run = await doomed(shop.container).run(run_id="d-1", raise_on_error=False)

    assert (run.status, [error.step for error in run.errors]) == (RunStatus.REVERTED, ["break"])
    assert sorted(journal) == ["ask a 1", "break", "undo ask None"]
    with pytest.raises(RunStateError, match="waits for no report: it is compensated"):
        await shop.engine.complete_step("d-1", "ask", ANN)


async def test_a_childs_step_is_reported_by_the_childs_run_id(shop: Process, journal: Journal) -> None:
    approve = approving(journal)

    @workflow("parent")
    def parent() -> Ref[list[str]]:
        once = approve.as_step()
        return transform(once, approve.as_step(name="again"), lambda a, b: [a, b])

    parked = await parent(shop.container).run(run_id="p-1")
    with pytest.raises(RunStateError, match=r"of this name\. Step 'ask' of run 'p-1:approving' waits for one\.$"):
        await shop.engine.complete_step("p-1", "ask", ANN)
    await shop.engine.complete_step("p-1:approving", "ask", ANN)
    await reached(shop, "p-1:again", RunStatus.WAITING)
    await shop.engine.complete_step("p-1:again", "ask", BOB)
    run = await parent(shop.container).run(run_id="p-1", wait=True)

    assert (parked.waiting_for, run.result) == ("the outcome of ask", ["Ann", "Bob"])


async def test_children_in_a_group_wait_each_for_its_own_report(shop: Process, journal: Journal) -> None:
    approve = approving(journal)

    @workflow("parent")
    def parent() -> Ref[list[str]]:
        return transform(*parallelize(approve.as_step(), approve.as_step(name="again")), lambda a, b: [a, b])

    await parent(shop.container).run(run_id="p-1")
    await shop.engine.complete_step("p-1:again", "ask", BOB)
    await reached(shop, "p-1:again", RunStatus.COMPLETED)
    await shop.engine.complete_step("p-1:approving", "ask", ANN)
    run = await parent(shop.container).run(run_id="p-1", wait=True)

    assert run.result == ["Ann", "Bob"]


async def test_a_report_survives_the_process_that_was_to_take_it(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal)
    old, desk, new = [await living(store, clock, name) for name in ("old", "desk", "new")]

    await approve(old.container).run(run_id="a-1")
    await old.die()
    await desk.engine.complete_step("a-1", "ask", {"by": "Ann"})
    await new.take_over(approve)
    await new.engine.heed()
    run = await approve(new.container).run(run_id="a-1", wait=True)

    assert (run.result, journal) == ("Ann", ["first", "ask first-output 1"])


async def test_a_report_from_another_process_is_found_without_its_hint(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal)
    shop, desk = [await living(store, clock, name) for name in ("shop", "desk")]

    await approve(shop.container).run(run_id="a-1")
    await shop.engine.heed(everything=False)
    await desk.engine.complete_step("a-1", "ask", {"by": "Ann"})
    await shop.engine.heed()
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert run.result == "Ann"


async def test_a_report_counts_although_the_clock_was_set_back(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal)

    await approve(shop.container).run(run_id="a-1")
    clock.jump(-HOUR)
    await shop.engine.complete_step("a-1", "ask", ANN)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert run.result == "Ann"


async def test_a_report_that_comes_as_the_time_is_over_is_not_lost(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    counting, desk = CountingStore(store), await living(store, clock, "desk")
    shop = await living(counting, clock, "shop")
    approve = approving(journal, timeout=HOUR)

    async def report_first(writes: tuple[Write, ...]) -> None:
        if any(isinstance(write, RequireNoSignal) for write in writes):
            await desk.engine.complete_step("a-1", "ask", {"by": "Ann"})

    await approve(shop.container).run(run_id="a-1")
    counting.before_commit = report_first
    await to_the_next_timer(clock)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert (run.result, run.steps["ask"].attempts) == ("Ann", 1)


async def test_a_report_that_comes_after_the_time_is_over_is_refused(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    counting, desk = CountingStore(store), await living(store, clock, "desk")
    shop = await living(counting, clock, "shop")
    approve = approving(journal, timeout=HOUR)
    said: list[str] = []

    async def report_last(writes: tuple[Write, ...]) -> None:
        if counting.commits and any(isinstance(write, RequireNoSignal) for write in counting.commits[-1]):
            with pytest.raises(RunStateError) as error:
                await desk.engine.complete_step("a-1", "ask", {"by": "Ann"})
            said.append(str(error.value))

    await approve(shop.container).run(run_id="a-1")
    counting.before_commit = report_last
    await to_the_next_timer(clock)
    run = await ended(shop, "a-1")

    assert (run.status, len(said)) == (RunStatus.REVERTED, 1)
    assert not any(isinstance(write, PutSignal) for writes in counting.commits for write in writes)


async def test_a_step_that_waits_when_the_runs_time_is_over_has_timed_out(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    first = journal.step("first")

    @step("ask", external=True)
    async def ask() -> str:
        return ""

    @ask.compensate
    async def undo(answer: str) -> None:
        journal.append(f"never {answer}")

    @workflow("hasty", timeout=DAY)
    def hasty() -> None:
        first()
        ask()

    await hasty(shop.container).run(run_id="h-1")
    await to_the_next_timer(clock)
    run = await ended(shop, "h-1")

    assert (run.status, journal) == (RunStatus.FAILED, ["first", "undo first"])
    assert "ROLLBACK INCOMPLETE: ask may have run" in str(run.failure())
    assert run.errors[0].attempts[0].type == "RunTimeout"
