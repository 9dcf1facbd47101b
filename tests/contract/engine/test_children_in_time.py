"""Children whose time is up, which wait, or whose parent is cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, Retry, RunStateError, RunStatus, StepState, parallelize, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import InsertRun, Outcome, Write
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import ended
from tests.contract.engine.processes import CountingStore, Journal, Process, until

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class Hanging:
    """A workflow of a step that is done, and one that runs until it is cancelled or let go on."""

    def __init__(self, journal: Journal, *, timeout: timedelta | None = None, name: str = "hanging") -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.flow: SourceWorkflow[str] = self._make(journal, timeout, name)

    def _make(self, journal: Journal, timeout: timedelta | None, name: str) -> SourceWorkflow[str]:
        done = journal.step(f"{name}-done")

        @step("hang", retry=Retry(max_attempts=9))
        async def hang() -> str:
            self.entered.set()
            await self.go_on.wait()
            journal.append(f"{name} went on")
            return "output"

        @hang.compensate
        async def let_go(data: str | None) -> None:
            journal.append(f"undo {name} {data}")

        @workflow(name, timeout=timeout)
        def hanging() -> Ref[str]:
            done()
            return hang()

        return hanging


def _around(journal: Journal, *children: SourceWorkflow[Any], timeout: timedelta | None = None) -> SourceWorkflow[None]:
    first, last = journal.step("first"), journal.step("last")

    @workflow("around", timeout=timeout)
    def around() -> None:
        first()
        if len(children) > 1:
            parallelize(*(child.as_step() for child in children))
        else:
            children[0].as_step()
        last()

    return around


async def test_a_childs_timeout_cancels_what_runs_in_it_and_fails_its_parent(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    hanging = Hanging(journal, timeout=SECOND)

    waits = asyncio.create_task(_around(journal, hanging.flow)(shop.container).run(run_id="a-1", raise_on_error=False))
    await hanging.entered.wait()
    clock.advance(SECOND)
    run, child = await waits, await shop.engine.get("a-1:hanging")

    assert journal == ["first", "hanging-done", "undo hanging None", "undo hanging-done", "undo first"]
    assert (run.status, child.status) == (RunStatus.REVERTED, RunStatus.REVERTED)
    assert (run.compensated, child.compensated) == (["hanging", "first"], ["hang", "hanging-done"])
    assert [(each.step, each.child, each.attempts[0].type) for each in run.errors] == [
        ("hanging", "a-1:hanging", "RunTimeout")
    ]
    assert "failed at 'hanging': RunTimeout: workflow 'hanging' did not end within 1 s" in str(run.failure())
    assert [(each.step, each.child) for each in child.errors] == [("hanging", "")]


async def test_a_childs_timeout_leaves_what_runs_beside_it_to_end(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    short, other = Hanging(journal, timeout=SECOND, name="short"), Hanging(journal, name="other")

    around = _around(journal, short.flow, other.flow)
    waits = asyncio.create_task(around(shop.container).run(run_id="a-1", raise_on_error=False))
    await short.entered.wait()
    await other.entered.wait()
    clock.advance(SECOND)
    await until(lambda: shop.engine._live["a-1"].failing)
    early = list(journal)
    other.go_on.set()
    run = await waits

    assert not [name for name in early if name.startswith("undo")]
    assert "other went on" in journal
    assert "undo other output" in journal
    assert [error.step for error in run.errors] == ["short"]
    assert set(run.compensated) == {"short", "other", "first"}


async def test_a_parents_timeout_cancels_what_runs_in_its_children(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    inner = Hanging(journal, timeout=HOUR, name="inner")

    @workflow("middle", timeout=HOUR)
    def middle() -> None:
        inner.flow.as_step()

    around = _around(journal, middle, timeout=SECOND)
    waits = asyncio.create_task(around(shop.container).run(run_id="a-1", raise_on_error=False))
    await inner.entered.wait()
    clock.advance(SECOND)
    run = await waits
    children = [await shop.engine.get(run_id) for run_id in ("a-1:middle", "a-1:middle:inner")]

    assert journal == ["first", "inner-done", "undo inner None", "undo inner-done", "undo first"]
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("around", "RunTimeout")]
    assert [child.status for child in children] == [RunStatus.REVERTED] * 2
    assert children[0].compensated == ["inner"]


async def test_a_childs_timeout_is_not_its_own_childs(shop: Process, clock: ManualClock, journal: Journal) -> None:
    inner = Hanging(journal, timeout=HOUR, name="inner")

    @workflow("middle", timeout=SECOND)
    def middle() -> None:
        inner.flow.as_step()

    around = _around(journal, middle, timeout=HOUR)
    waits = asyncio.create_task(around(shop.container).run(run_id="a-1", raise_on_error=False))
    await inner.entered.wait()
    clock.advance(SECOND)
    run = await waits
    statuses = [(await shop.engine.get(run_id)).status for run_id in ("a-1:middle", "a-1:middle:inner")]

    assert [(error.step, error.child) for error in run.errors] == [("middle", "a-1:middle")]
    assert journal == ["first", "inner-done", "undo inner None", "undo inner-done", "undo first"]
    assert statuses == [RunStatus.REVERTED] * 2


async def test_a_parked_child_is_woken_for_its_timeout_also_after_a_restart(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    patient = journal.step("patient", fails=OSError(), retry=Retry(max_attempts=2, delay=24 * HOUR))

    @workflow("parked", timeout=HOUR)
    def parked() -> None:
        patient()

    around = _around(journal, parked)
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    stopped = await around(old.container).run(run_id="a-1")
    child = await old.engine.get("a-1:parked")
    await old.die()
    await new.take_over(around)
    await until(lambda: clock.next_due_s() is not None)
    clock.advance(HOUR)
    run = await ended(new, "a-1")

    assert [(each.status, each.waiting_for) for each in (stopped, child)] == [
        (RunStatus.WAITING, "attempt 2 of patient")
    ] * 2
    assert journal == ["first", "patient", "undo first"]
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("parked", "RunTimeout")]
    assert (await new.engine.get("a-1:parked")).status is RunStatus.REVERTED
    assert (await new.engine.get("a-1:parked")).waiting_for == ""


async def test_a_run_waits_while_its_child_waits(shop: Process, clock: ManualClock, journal: Journal) -> None:
    again = journal.step("again", fails=OSError(), retry=Retry(max_attempts=2, delay=10 * SECOND))

    @workflow("retrying")
    def retrying() -> None:
        again()

    around = _around(journal, retrying)
    await around(shop.container).run(run_id="a-1", wait=False)
    await until(lambda: clock.next_due_s() is not None)
    seen = [await shop.engine.get(run_id) for run_id in ("a-1", "a-1:retrying")]
    clock.advance(10 * SECOND)
    run = await around(shop.container).run(run_id="a-1", raise_on_error=False)

    assert [(each.status, each.waiting_for) for each in seen] == [(RunStatus.WAITING, "attempt 2 of again")] * 2
    assert journal == ["first", "again", "again", "undo first"]
    assert run.errors[0].child == "a-1:retrying"


@pytest.mark.parametrize("delay", [10 * SECOND, 10 * HOUR])
async def test_a_parent_whose_child_waits_is_cancelled_at_once(
    shop: Process, clock: ManualClock, journal: Journal, delay: timedelta
) -> None:
    again = journal.step("again", fails=OSError(), retry=Retry(max_attempts=2, delay=delay, max_delay=delay))

    @workflow("retrying")
    def retrying() -> None:
        again()

    await _around(journal, retrying)(shop.container).run(run_id="a-1", wait=False)
    await until(lambda: clock.next_due_s() is not None)
    run = await shop.engine.cancel("a-1", wait=True)

    assert journal == ["first", "again", "undo first"]
    assert (run.status, run.compensated) == (RunStatus.CANCELLED, ["first"])
    assert (await shop.engine.get("a-1:retrying")).status is RunStatus.REVERTED


async def test_a_parent_is_cancelled_while_something_runs_in_its_child(shop: Process, journal: Journal) -> None:
    done = journal.step("done")

    @workflow("completed")
    def completed() -> None:
        done()

    hanging = Hanging(journal)
    around = _around(journal, completed, hanging.flow)
    await around(shop.container).run(run_id="a-1", wait=False)
    await hanging.entered.wait()
    cancelling = asyncio.create_task(shop.engine.cancel("a-1", wait=True))
    await until(lambda: shop.engine._live["a-1"].failing)
    hanging.go_on.set()
    run = await cancelling
    statuses = [(await shop.engine.get(f"a-1:{name}")).status for name in ("hanging", "completed")]

    assert "last" not in journal
    assert "undo hanging output" in journal
    assert (run.status, run.errors, set(run.compensated)) == (
        RunStatus.CANCELLED,
        [],
        {"hanging", "completed", "first"},
    )
    assert statuses == [RunStatus.REVERTED, RunStatus.REVERTED]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_child_cannot_be_cancelled_or_retried_by_itself(
    shop: Process,
    journal: Journal,
    ended: bool,  # noqa: FBT001 - a parameter
) -> None:
    hanging = Hanging(journal)
    around = _around(journal, hanging.flow)
    await around(shop.container).run(run_id="a-1", wait=False)
    await hanging.entered.wait()
    if ended:
        hanging.go_on.set()
        await around(shop.container).run(run_id="a-1")

    with pytest.raises(RunStateError, match="'a-1:hanging' cannot be cancelled by itself: it is a step of run 'a-1'"):
        await shop.engine.cancel("a-1:hanging")
    with pytest.raises(RunStateError, match="'a-1:hanging' cannot be retried by itself: it is a step of run 'a-1'"):
        await shop.engine.retry("a-1:hanging")
    assert not [name for name in journal if name.startswith("undo")]


class _Slow(CountingStore):
    """A store that is slow to answer when a child begins."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked = asyncio.Event()

    async def commit(self, *writes: Write) -> Outcome:
        outcome = await super().commit(*writes)
        if any(isinstance(write, InsertRun) and write.record.root_key for write in writes):
            self.asked.set()
            await asyncio.Event().wait()
        return outcome


async def test_a_child_that_was_just_beginning_when_the_time_was_up_has_its_end(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    slow = _Slow(store)
    shop, hanging = await living(slow, clock, "process-1"), Hanging(journal)

    around = _around(journal, hanging.flow, timeout=SECOND)
    waits = asyncio.create_task(around(shop.container).run(run_id="a-1", raise_on_error=False))
    await slow.asked.wait()
    clock.advance(SECOND)
    run, child = await waits, await shop.engine.get("a-1:hanging")

    assert journal == ["first", "undo first"]
    assert (run.status, child.status) == (RunStatus.REVERTED, RunStatus.REVERTED)
    assert run.steps["hanging"].state is StepState.FAILED
