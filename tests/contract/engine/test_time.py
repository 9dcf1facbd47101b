"""Timeouts, retries, and waits that are too long for a task."""

import asyncio
import threading
from datetime import timedelta

import pytest

from daemon import (
    Ref,
    Retry,
    RunStatus,
    StepContext,
    StepState,
    StepTimeout,
    WorkflowFailed,
    WorkflowRun,
    parallelize,
    step,
    workflow,
)
from daemon.clock import ManualClock
from tests.contract.engine.outside import ended
from tests.contract.engine.processes import Journal, Process, until

SECOND = timedelta(seconds=1)
DAYS = timedelta(days=2)


async def _to_the_next_timer(clock: ManualClock) -> timedelta:
    """Wait until somebody waits, move the clock to that moment, and return how far it was."""
    await until(lambda: clock.next_due_s() is not None, what="somebody waits")
    wait = timedelta(seconds=clock.next_due_s() or 0)
    clock.advance(wait)
    return wait


async def test_a_timeout_cancels_the_attempt_and_counts_as_a_failure(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("slow", timeout=2 * SECOND, retry=Retry(max_attempts=2))
    async def slow(_: int, ctx: StepContext) -> str:
        journal.append(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                journal.append("cancelled")
        return "done"

    @workflow("slow-run")
    def slow_run(value: Ref[int]) -> None:
        slow(value)

    running = asyncio.create_task(slow_run(shop.container).run(1))
    waited = await _to_the_next_timer(clock)
    run = await running

    assert waited == 2 * SECOND
    assert journal == ["attempt 1", "cancelled", "attempt 2"]
    assert run.steps["slow"].attempts == 2


async def test_a_timeout_that_was_swallowed_is_a_timeout_all_the_same(shop: Process, clock: ManualClock) -> None:
    @step("deaf", timeout=SECOND)
    async def deaf() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "too late"
        return "never"

    @step("rude", timeout=SECOND)
    async def rude() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None
        return "never"

    @workflow("deaf-run")
    def deaf_run() -> None:
        parallelize(deaf(), rude())

    running = asyncio.create_task(deaf_run(shop.container).run(run_id="deaf-1"))
    await _to_the_next_timer(clock)
    with pytest.raises(WorkflowFailed) as failed:
        await running

    assert {error.attempts[0].type for error in failed.value.run.errors} == {"StepTimeout"}
    assert isinstance(failed.value.__cause__, StepTimeout)
    assert "did not end within 1 s" in str(failed.value)


async def test_a_thread_that_takes_too_long_is_not_waited_for(shop: Process, clock: ManualClock) -> None:
    go_on = threading.Event()
    started = threading.Event()

    @step("stuck", timeout=SECOND)
    def stuck() -> str:
        started.set()
        go_on.wait()
        return "too late"

    @workflow("stuck-thread")
    def stuck_thread() -> None:
        stuck()

    running = asyncio.create_task(stuck_thread(shop.container).run(raise_on_error=False))
    await until(started.is_set)
    await _to_the_next_timer(clock)
    run = await running
    go_on.set()

    assert run.errors[0].attempts[0].type == "StepTimeout"


async def test_a_step_that_timed_out_is_undone_with_none(shop: Process, clock: ManualClock, journal: Journal) -> None:
    @step("charge", timeout=SECOND)
    async def charge() -> str:
        await asyncio.Event().wait()
        return "never"

    @charge.compensate
    async def refund(data: str | None) -> None:
        journal.append(f"refund {data}")

    @workflow("time-out")
    def time_out() -> None:
        charge()

    running = asyncio.create_task(time_out(shop.container).run(raise_on_error=False))
    await _to_the_next_timer(clock)
    run = await running

    assert journal == ["refund None"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["charge"])


async def test_a_step_that_timed_out_and_cannot_be_undone_may_have_run(shop: Process, clock: ManualClock) -> None:
    @step("charge-card", timeout=SECOND)
    async def charge_card() -> str:
        await asyncio.Event().wait()
        return "never"

    @charge_card.compensate
    async def refund(data: str) -> None:
        raise AssertionError

    @workflow("in-doubt")
    def in_doubt() -> None:
        charge_card()

    running = asyncio.create_task(in_doubt(shop.container).run(raise_on_error=False))
    await _to_the_next_timer(clock)
    run = await running

    assert (run.status, run.compensated) == (RunStatus.FAILED, [])
    assert str(run.failure()).endswith("; rolled back: nothing; ROLLBACK INCOMPLETE: charge-card may have run.")
    assert str((await shop.engine.get(run.run_id)).failure()) == str(run.failure())


async def test_a_retry_waits_longer_every_time(shop: Process, clock: ManualClock, journal: Journal) -> None:
    retry = Retry(max_attempts=4, delay=SECOND, backoff=3, max_delay=5 * SECOND)
    flaky = journal.step("flaky", fails=OSError("away"), retry=retry)

    @workflow("flaky-run")
    def flaky_run() -> None:
        flaky()

    running = asyncio.create_task(flaky_run(shop.container).run(raise_on_error=False))
    waits = [await _to_the_next_timer(clock) for _ in range(3)]
    run = await running

    assert waits == [SECOND, 3 * SECOND, 5 * SECOND]
    assert len(run.errors[0].attempts) == 4
    assert journal == ["flaky"] * 4


async def test_a_run_that_waits_for_a_retry_says_so(shop: Process, clock: ManualClock, journal: Journal) -> None:
    flaky = journal.step("flaky", fails=OSError("away"), retry=Retry(max_attempts=2, delay=10 * SECOND))

    @workflow("waiting-run")
    def waiting_run() -> None:
        flaky()

    running = asyncio.create_task(waiting_run(shop.container).run(run_id="waiting-1", raise_on_error=False))
    await until(lambda: clock.next_due_s() is not None)
    meanwhile = await shop.engine.get("waiting-1")
    clock.advance(10 * SECOND)
    await running

    assert (meanwhile.status, meanwhile.waiting_for) == (RunStatus.WAITING, "attempt 2 of flaky")
    assert meanwhile.steps["flaky"].state is StepState.WAITING


async def test_some_errors_are_final(shop: Process, journal: Journal) -> None:
    final = journal.step("final", fails=KeyError("x"), retry=Retry(max_attempts=5, never_on=(LookupError,)))

    @workflow("final-run")
    def final_run() -> None:
        final()

    await final_run(shop.container).run(raise_on_error=False)

    assert journal == ["final"]


async def test_a_run_that_waits_for_long_is_parked_and_goes_on_when_it_is_due(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    retry = Retry(max_attempts=2, delay=timedelta(minutes=1))

    @step("patient", retry=retry)
    async def patient(_: int, ctx: StepContext) -> str:
        journal.append(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError
        return ctx.idempotency_key

    first = journal.step("first")

    @workflow("patient-run")
    def patient_run(value: Ref[int]) -> None:
        first()
        patient(value)

    parked = await patient_run(shop.container).run(1, run_id="patient-1")
    running_meanwhile = shop.engine.running
    status = parked.status
    waits = asyncio.create_task(patient_run(shop.container).run(1, run_id="patient-1", wait=True))
    await asyncio.sleep(0)
    clock.advance(timedelta(minutes=1))
    run = await waits

    assert (status, parked.status, parked.waiting_for) == (RunStatus.WAITING, RunStatus.WAITING, "attempt 2 of patient")
    assert running_meanwhile == 0
    assert journal == ["first", "attempt 1", "attempt 2"]
    assert run.status is RunStatus.COMPLETED
    assert run.steps["patient"].output == "shop:patient-1:1:patient"


async def test_whoever_waits_for_the_end_of_a_parked_run_gets_it(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    patient = journal.step("patient", fails=OSError(), retry=Retry(max_attempts=2, delay=timedelta(minutes=5)))

    @workflow("patient-end")
    def patient_end() -> None:
        patient()

    waits = asyncio.create_task(patient_end(shop.container).run(run_id="end-1", wait=True, raise_on_error=False))
    wait = await _to_the_next_timer(clock)
    run: WorkflowRun[None] = await waits

    assert wait == timedelta(minutes=5)
    assert (run.status, journal) == (RunStatus.REVERTED, ["patient", "patient"])


async def test_a_compensation_that_is_tried_again_much_later_parks_the_rollback(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    hourly = Retry(max_attempts=2, delay=timedelta(hours=1))
    first = journal.step("first", undo_fails=OSError("busy"), compensation_retry=hourly)
    broken = journal.failing()

    @workflow("slow-back")
    def slow_back() -> None:
        first()
        broken()

    parked = await slow_back(shop.container).run(run_id="slow-1", raise_on_error=False)
    clock.advance(timedelta(hours=1))
    run = await ended(shop, "slow-1")

    assert (parked.status, parked.waiting_for) == (RunStatus.COMPENSATING, "the compensation of first")
    assert journal == ["first", "break", "undo first", "undo first"]
    assert run.status is RunStatus.FAILED
    assert len(run.errors[-1].attempts) == 2
