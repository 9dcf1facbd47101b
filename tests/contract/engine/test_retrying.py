"""Rollbacks that gave up and are taken up again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import Retry, RunNotFound, RunStateError, RunStatus, StepContext, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.outside import SECOND, to_the_next_timer
from tests.contract.engine.processes import Journal, Process, until


class Stuck:
    """A workflow whose middle step cannot be undone until it is mended; every attempt notes its number."""

    def __init__(self, journal: Journal, *, retry: Retry | None = None) -> None:
        self.is_mended = False
        self.workflow = self._make(journal, retry or Retry.never())

    def _make(self, journal: Journal, retry: Retry) -> Any:
        first, last, broken = journal.step("first"), journal.step("last"), journal.failing()

        @step("stuck", compensation_retry=retry)
        async def stuck() -> str:
            return "stuck"

        @stuck.compensate
        async def undo(_: str, ctx: StepContext) -> None:
            journal.append(f"undo stuck {ctx.attempt}")
            if not self.is_mended:
                raise OSError("not yet")

        @workflow("sticking")
        def sticking() -> None:
            first()
            stuck()
            last()
            broken()

        return sticking


async def _process(store: Store, clock: ManualClock, owner: str) -> Process:
    process = Process(store, clock, owner)
    await process.announce()
    return process


async def test_a_rollback_goes_on_from_the_compensation_that_gave_up(shop: Process, journal: Journal) -> None:
    stuck = Stuck(journal)
    failed = await stuck.workflow(shop.container).run(run_id="stuck-1", raise_on_error=False)
    before = list(journal)
    stuck.is_mended = True

    run = await shop.engine.retry("stuck-1", wait=True)

    assert failed.status is RunStatus.FAILED
    assert before[-3:] == ["undo last", "undo stuck 1", "undo first"]
    assert journal == [*before, "undo stuck 2"]
    assert (run.status, run.attempt) == (RunStatus.REVERTED, 1)
    assert run.compensated == ["last", "first", "stuck"]
    assert [(error.step, error.phase) for error in run.errors] == [("break", "invoke")]
    assert (await shop.engine.get("stuck-1")).status is RunStatus.REVERTED


async def test_a_compensation_has_all_its_attempts_again_and_may_give_up_again(shop: Process, journal: Journal) -> None:
    stuck = Stuck(journal, retry=Retry(max_attempts=2))
    await stuck.workflow(shop.container).run(run_id="stuck-1", raise_on_error=False)

    again = await shop.engine.retry("stuck-1", wait=True)
    once_more = await shop.engine.retry("stuck-1", wait=True)

    assert [each for each in journal if each.startswith("undo stuck")] == [f"undo stuck {n}" for n in range(1, 7)]
    assert again.status is once_more.status is RunStatus.FAILED
    assert [(error.step, len(error.attempts)) for error in again.errors] == [("break", 1), ("stuck", 4)]
    assert len(once_more.errors[-1].attempts) == 6


async def test_a_compensation_that_is_taken_up_again_waits_as_long_as_the_first_time(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    stuck = Stuck(journal, retry=Retry(max_attempts=3, delay=SECOND, backoff=2))
    running = asyncio.create_task(stuck.workflow(shop.container).run(run_id="stuck-1", raise_on_error=False))
    waits = [await to_the_next_timer(clock) for _ in range(2)]
    await running

    retried = asyncio.create_task(shop.engine.retry("stuck-1", wait=True))
    waits_again = [await to_the_next_timer(clock) for _ in range(2)]
    await retried

    assert waits == waits_again == [SECOND, 2 * SECOND]


async def test_a_run_in_another_state_cannot_be_retried_and_the_error_says_which(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    first = journal.step("first", fails=OSError("no"), retry=Retry(max_attempts=2, delay=timedelta(minutes=2)))

    @workflow("waiting")
    def waiting() -> None:
        first()

    @workflow("quick")
    def quick() -> None:
        """Do nothing."""

    await waiting(shop.container).run(run_id="waiting-1")
    await quick(shop.container).run(run_id="quick-1")

    with pytest.raises(RunStateError, match=r"'waiting-1' cannot be retried: .* it is waiting\.$"):
        await shop.engine.retry("waiting-1")
    with pytest.raises(RunStateError, match=r"'quick-1' cannot be retried: .* it is completed\.$"):
        await shop.engine.retry("quick-1")
    with pytest.raises(RunNotFound):
        await shop.engine.retry("nobody-1")


async def test_a_run_that_failed_only_in_doubt_has_nothing_to_retry(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("charge", timeout=timedelta(seconds=1))
    async def charge() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    @charge.compensate
    async def refund(_: str) -> None:
        journal.append("never")

    @workflow("charging")
    def charging() -> None:
        charge()

    running = asyncio.create_task(charging(shop.container).run(run_id="charging-1", raise_on_error=False))
    await entered.wait()
    clock.advance(timedelta(seconds=2))
    run = await running

    assert run.status is RunStatus.FAILED
    with pytest.raises(RunStateError, match="none of its compensations gave up"):
        await shop.engine.retry("charging-1")


async def test_two_retries_at_the_same_time_are_one(shop: Process, journal: Journal) -> None:
    stuck = Stuck(journal)
    await stuck.workflow(shop.container).run(run_id="stuck-1", raise_on_error=False)
    stuck.is_mended = True

    found = await asyncio.wait_for(_settled(shop.engine.retry("stuck-1"), shop.engine.retry("stuck-1")), 5)
    await until(lambda: not shop.engine.running)

    assert sorted(type(each).__name__ for each in found) == ["RunStateError", "WorkflowRun"]
    assert [each for each in journal if each.startswith("undo stuck")] == ["undo stuck 1", "undo stuck 2"]


async def _settled(*calls: Any) -> list[Any]:
    tasks = [asyncio.ensure_future(each) for each in calls]
    await asyncio.wait(tasks)
    return [task.exception() or task.result() for task in tasks]


async def test_another_process_goes_on_with_a_run_whose_workflow_it_knows(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    old, new = [await _process(store, clock, name) for name in ("old", "new")]
    stuck = Stuck(journal)
    await stuck.workflow(old.container).run(run_id="stuck-1", raise_on_error=False)
    new.engine.register([stuck.workflow])
    stuck.is_mended = True

    run = await new.engine.retry("stuck-1", wait=True)

    assert run.status is RunStatus.REVERTED
    assert run.record.owner == "new"
    assert (await old.engine.get("stuck-1")).status is RunStatus.REVERTED


async def test_a_process_that_does_not_know_the_workflow_leaves_it_to_one_that_does(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    worker, command = [await _process(store, clock, name) for name in ("worker", "command")]
    stuck = Stuck(journal)
    await stuck.workflow(worker.container).run(run_id="stuck-1", raise_on_error=False)
    stuck.is_mended = True

    asked = await command.engine.retry("stuck-1")
    joined = asyncio.create_task(stuck.workflow(worker.container).run(run_id="stuck-1", raise_on_error=False))
    await until(lambda: clock.next_due_s() == 0.25, what="it looks again")
    claimed = await worker.take_over(stuck.workflow)
    await until(lambda: not worker.engine.running)
    run = await worker.engine.get("stuck-1")
    joined.cancel()

    assert asked.status is RunStatus.COMPENSATING
    assert [record.run_id for record in claimed] == ["stuck-1"]
    assert (run.status, run.attempt) == (RunStatus.REVERTED, 1)
