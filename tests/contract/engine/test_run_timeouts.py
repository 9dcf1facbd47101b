"""A run's own timeout, whatever the run is doing."""

import asyncio
from datetime import timedelta

from daemon import (
    Retry,
    RunStatus,
    parallelize,
    step,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import Journal, Process, until

SECOND = timedelta(seconds=1)
DAYS = timedelta(days=2)


async def _to_the_next_timer(clock: ManualClock) -> timedelta:
    """Wait until somebody waits, move the clock to that moment, and return how far it was."""
    await until(lambda: clock.next_due_s() is not None, what="somebody waits")
    wait = timedelta(seconds=clock.next_due_s() or 0)
    clock.advance(wait)
    return wait


async def test_the_runs_own_timeout_cancels_what_runs_and_rolls_back(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    waiting, first = asyncio.Event(), journal.step("first")

    @step("slow", timeout=timedelta(hours=2), retry=Retry(max_attempts=9))
    async def slow() -> str:
        waiting.set()
        await asyncio.Event().wait()
        return "never"

    @slow.compensate
    async def undo(data: str | None) -> None:
        journal.append(f"undo slow {data}")

    @workflow("limited", timeout=timedelta(minutes=1))
    def limited() -> None:
        first()
        slow()

    running = asyncio.create_task(limited(shop.container).run(run_id="limited-1", raise_on_error=False))
    await waiting.wait()
    clock.advance(timedelta(minutes=1))
    run = await running

    assert journal == ["first", "undo slow None", "undo first"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["slow", "first"])
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("limited", "RunTimeout")]
    assert "failed at 'limited': RunTimeout: workflow 'limited' did not end within 60 s" in str(run.failure())


async def test_a_runs_timeout_ends_a_run_whose_step_swallowed_it(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    waiting = asyncio.Event()

    @step("deaf")
    async def deaf() -> str:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            journal.append("deaf went on")
        return "output"

    @deaf.compensate
    async def undo(data: str) -> None:
        journal.append(f"undo {data}")

    never = journal.step("never")

    @workflow("deaf-limited", timeout=SECOND)
    def deaf_limited() -> None:
        deaf()
        never()

    running = asyncio.create_task(deaf_limited(shop.container).run(raise_on_error=False))
    await waiting.wait()
    clock.advance(SECOND)
    run = await running

    assert journal == ["deaf went on", "undo output"]
    assert run.status is RunStatus.REVERTED


async def test_a_runs_timeout_cancels_siblings_that_are_awaited(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    waiting = asyncio.Event()

    @step("hangs")
    async def hangs() -> str:
        waiting.set()
        await asyncio.Event().wait()
        return "never"

    @hangs.compensate
    async def undo(data: str | None) -> None:
        journal.append(f"undo {data}")

    broken = journal.failing()

    @workflow("hanging", timeout=SECOND)
    def hanging() -> None:
        parallelize(hangs(), broken())

    running = asyncio.create_task(hanging(shop.container).run(raise_on_error=False))
    await waiting.wait()
    await until(lambda: "break" in journal)
    clock.advance(SECOND)
    run = await running

    assert journal == ["break", "undo None"]
    assert [error.step for error in run.errors] == ["break", "hanging"]


async def test_a_runs_timeout_ends_a_wait_for_a_retry(shop: Process, clock: ManualClock, journal: Journal) -> None:
    failed = asyncio.Event()

    @step("flaky", retry=Retry(max_attempts=2, delay=20 * SECOND))
    async def flaky() -> str:
        failed.set()
        raise OSError

    @flaky.compensate
    async def undo(data: str | None) -> None:
        journal.append(f"undo {data}")

    @workflow("flaky-limited", timeout=10 * SECOND)
    def flaky_limited() -> None:
        flaky()

    running = asyncio.create_task(flaky_limited(shop.container).run(run_id="f-1", raise_on_error=False))
    await failed.wait()
    await until(lambda: clock.next_due_s() == 10.0)
    clock.advance(10 * SECOND)
    run = await running

    assert journal == ["undo None"]
    assert [error.step for error in run.errors] == ["flaky-limited"]


async def test_a_parked_run_is_woken_for_its_timeout(shop: Process, clock: ManualClock, journal: Journal) -> None:
    first = journal.step("first")
    patient = journal.step("patient", fails=OSError(), retry=Retry(max_attempts=2, delay=DAYS, max_delay=DAYS))

    @workflow("parked-limited", timeout=timedelta(hours=1))
    def parked_limited() -> None:
        first()
        patient()

    waits = asyncio.create_task(parked_limited(shop.container).run(wait=True, raise_on_error=False))
    await until(lambda: "patient" in journal and not shop.engine.running)
    clock.advance(timedelta(hours=1))
    run = await waits

    assert journal == ["first", "patient", "undo first"]
    assert (run.status, run.errors[-1].attempts[0].type) == (RunStatus.REVERTED, "RunTimeout")


async def test_a_rollback_after_a_timeout_tells_the_same_when_another_process_ends_it(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    waiting, undoing = asyncio.Event(), asyncio.Event()

    @step("slow")
    async def slow() -> None:
        waiting.set()
        await asyncio.Event().wait()

    @slow.compensate
    async def undo(_: None) -> None:
        journal.append("undo slow")
        if not undoing.is_set():
            undoing.set()
            await asyncio.Event().wait()

    @workflow("limited-twice", timeout=SECOND)
    def limited_twice() -> None:
        slow()

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await limited_twice(old.container).run(run_id="l-1", wait=False)
    await waiting.wait()
    clock.advance(SECOND)
    await undoing.wait()
    await old.die()
    await new.take_over(limited_twice)
    run = await limited_twice(new.container).run(run_id="l-1", raise_on_error=False)

    assert journal == ["undo slow", "undo slow"]
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("limited-twice", "RunTimeout")]
    assert run.status is RunStatus.REVERTED
