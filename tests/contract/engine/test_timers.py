"""`sleep` and `sleep_until`: durable timers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon import Ref, RunStatus, parallelize, sleep, sleep_until, step, transform, when, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, MINUTE, SECOND, ended, reached, to_the_next_timer
from tests.contract.engine.processes import Journal, Process, until


def _sleeper(journal: Journal, delay: timedelta, **options: Any) -> SourceWorkflow[str]:
    before, after = journal.step("before"), journal.step("after")

    @workflow("sleeper", **options)
    def sleeper() -> Ref[str]:
        before()
        sleep(delay)
        return after()

    return sleeper


async def test_a_short_timer_is_waited_for_in_a_task(shop: Process, clock: ManualClock, journal: Journal) -> None:
    sleeper = _sleeper(journal, 10 * SECOND)

    running = asyncio.create_task(sleeper(shop.container).run(run_id="s-1"))
    await until(lambda: clock.next_due_s() == 10.0)
    meanwhile, tasks = await reached(shop, "s-1", RunStatus.WAITING), shop.engine.running
    clock.advance(10 * SECOND - timedelta(microseconds=1))
    early = list(journal)
    clock.advance(timedelta(microseconds=1))
    run = await running

    assert (meanwhile.waiting_for, tasks) == ("sleep-1 until 2026-01-01T00:00:10+00:00", 1)
    assert (early, journal) == (["before"], ["before", "after"])
    assert (run.status, run.result, run.waiting_for) == (RunStatus.COMPLETED, "after-output", "")


async def test_a_timer_of_a_day_parks_the_run(shop: Process, clock: ManualClock, journal: Journal) -> None:
    sleeper = _sleeper(journal, DAY)

    parked = await sleeper(shop.container).run(run_id="s-1")
    tasks, slept = shop.engine.running, await to_the_next_timer(clock)
    run = await sleeper(shop.container).run(run_id="s-1", wait=True)

    assert (parked.status, parked.waiting_for) == (
        RunStatus.WAITING,
        "sleep-1 until 2026-01-02T00:00:00+00:00",
    )
    assert (tasks, slept) == (0, DAY)
    assert (run.result, journal) == ("after-output", ["before", "after"])
    timer = run.steps["sleep-1"]
    assert timer.ended_at is not None
    assert (timer.state, timer.output, timer.ended_at - timer.started_at) == ("completed", None, DAY)


@pytest.mark.parametrize("delay", [20 * SECOND, DAY])
async def test_another_process_sleeps_on_until_the_same_moment(
    store: Store, clock: ManualClock, journal: Journal, delay: timedelta
) -> None:
    sleeper = _sleeper(journal, delay)
    old, new = [await living(store, clock, name) for name in ("old", "new")]

    await sleeper(old.container).run(run_id="s-1", wait=False)
    await reached(old, "s-1", RunStatus.WAITING)
    clock.advance(delay / 4)
    await old.die()
    clock.advance(delay / 4)
    await new.take_over(sleeper)
    left = await to_the_next_timer(clock)
    run = await sleeper(new.container).run(run_id="s-1", wait=True)

    assert (left, run.result, journal) == (delay / 2, "after-output", ["before", "after"])


async def test_a_timer_that_came_due_while_nobody_was_there_is_not_waited_for_again(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    sleeper = _sleeper(journal, DAY)
    old, new = [await living(store, clock, name) for name in ("old", "new")]

    await sleeper(old.container).run(run_id="s-1")
    await old.die()
    clock.advance(3 * DAY)
    await new.take_over(sleeper)
    run = await sleeper(new.container).run(run_id="s-1", wait=True)

    assert (run.result, journal) == ("after-output", ["before", "after"])


async def test_timers_in_blocks_and_children_are_waited_for(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @workflow("inner")
    def inner(value: Ref[int]) -> None:
        sleep(HOUR)

    @workflow("middle")
    def middle(value: Ref[int]) -> None:
        with when(value, lambda n: n > 0):
            sleep(MINUTE)
            inner.as_step(value)

    after = journal.step("after")

    @workflow("outer")
    def outer(value: Ref[int]) -> Ref[str]:
        middle.as_step(value)
        sleep(SECOND)
        return after()

    parked = await outer(shop.container).run(1, run_id="o-1")
    child = await shop.engine.get("o-1:middle")
    waits = [await to_the_next_timer(clock)]
    await reached(shop, "o-1:middle:inner", RunStatus.WAITING)
    for _ in range(2):
        await until(lambda: clock.next_due_s() is not None)
        waits.append(await to_the_next_timer(clock))
    run = await outer(shop.container).run(1, run_id="o-1", wait=True)
    await outer(shop.container).run(0, run_id="o-2", wait=False)
    skipped = await reached(shop, "o-2", RunStatus.WAITING)

    assert parked.waiting_for == child.waiting_for == "sleep-1 until 2026-01-01T00:01:00+00:00"
    assert (waits, run.result) == ([MINUTE, HOUR, SECOND], "after-output")
    assert (list(skipped.steps), clock.next_due_s()) == (["middle", "sleep-1"], 1.0)


@pytest.mark.parametrize("delay", [10 * SECOND, HOUR])
async def test_a_child_sleeps_beside_a_step_that_runs(
    shop: Process, clock: ManualClock, journal: Journal, delay: timedelta
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    sleeper = _sleeper(journal, delay)

    @step("slow")
    async def slow() -> str:
        entered.set()
        await go_on.wait()
        return "slow"

    @workflow("beside")
    def beside() -> Ref[Any]:
        return transform(*parallelize(sleeper.as_step(), slow()), lambda a, b: [a, b])

    await beside(shop.container).run(run_id="b-1", wait=False)
    await entered.wait()
    child = await reached(shop, "b-1:sleeper", RunStatus.WAITING, lambda run: "sleep-1" in run.steps)
    clock.advance(delay)
    go_on.set()
    ending = asyncio.create_task(beside(shop.container).run(run_id="b-1", wait=True))
    while not ending.done():  # the run may be parked until now
        clock.advance(timedelta(0))
        await asyncio.wait([ending], timeout=0.001)
    run = await ending

    assert child.steps["sleep-1"].state == "waiting"
    assert (run.result, journal) == (["after-output", "slow"], ["before", "after"])


@pytest.mark.parametrize("delay", [10 * SECOND, DAY])
async def test_a_run_that_sleeps_is_cancelled_at_once(shop: Process, journal: Journal, delay: timedelta) -> None:
    sleeper = _sleeper(journal, delay)

    await sleeper(shop.container).run(run_id="s-1", wait=False)
    await reached(shop, "s-1", RunStatus.WAITING)
    run = await shop.engine.cancel("s-1", wait=True)

    assert (run.status, journal) == (RunStatus.CANCELLED, ["before", "undo before"])
    assert run.steps["sleep-1"].state == "skipped"


@pytest.mark.parametrize("limit", [5 * SECOND, HOUR])
async def test_a_runs_timeout_wakes_it(shop: Process, clock: ManualClock, journal: Journal, limit: timedelta) -> None:
    sleeper = _sleeper(journal, 2 * limit, timeout=limit)

    await sleeper(shop.container).run(run_id="s-1", wait=False)
    await reached(shop, "s-1", RunStatus.WAITING)
    struck = await to_the_next_timer(clock)
    run = await ended(shop, "s-1")

    assert (struck, run.status, journal[:3]) == (limit, RunStatus.REVERTED, ["before", "undo before"])
    assert [(error.step, error.attempts[0].type) for error in run.errors] == [("sleeper", "RunTimeout")]


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_moment_is_slept_for_until_it_comes(shop: Process, clock: ManualClock, *, is_known: bool) -> None:
    moment = datetime(2026, 1, 3, 12, tzinfo=UTC)

    @workflow("alarm-known" if is_known else "alarm")
    def alarm(at: Ref[datetime]) -> None:
        sleep_until(moment if is_known else at)

    parked = await alarm(shop.container).run(moment, run_id="a-1")
    slept = await to_the_next_timer(clock)
    run = await alarm(shop.container).run(moment, run_id="a-1", wait=True)

    assert (parked.waiting_for, slept) == ("sleep-until-1 until 2026-01-03T12:00:00+00:00", 2 * DAY + 12 * HOUR)
    assert run.status is RunStatus.COMPLETED


async def test_a_moment_that_has_passed_is_not_slept_for(shop: Process, clock: ManualClock) -> None:
    @workflow("alarm")
    def alarm(at: Ref[datetime]) -> None:
        sleep_until(at)
        sleep_until(at)
        sleep(timedelta(0))

    run = await alarm(shop.container).run(datetime(1970, 1, 1, tzinfo=UTC))

    assert (run.status, clock.next_due_s()) == (RunStatus.COMPLETED, None)


async def test_the_last_moment_that_there_is_can_be_slept_for(shop: Process) -> None:
    @workflow("alarm")
    def alarm(at: Ref[datetime]) -> None:
        sleep_until(at)

    run = await alarm(shop.container).run(datetime.max.replace(tzinfo=UTC))

    assert (run.status, run.waiting_for[:31]) == (RunStatus.WAITING, "sleep-until-1 until 9999-12-31T")


async def test_what_is_no_aware_datetime_fails_the_run(shop: Process, journal: Journal) -> None:
    first = journal.step("first")

    @workflow("alarm")
    def alarm(at: Ref[datetime]) -> None:
        first()
        sleep_until(at)

    run = await alarm(shop.container).run(datetime(2026, 1, 2), raise_on_error=False)  # noqa: DTZ001 - that is the point

    assert (run.status, journal) == (RunStatus.REVERTED, ["first", "undo first"])
    assert [error.step for error in run.errors] == ["sleep-until-1"]
    assert "sleep_until waits for an aware datetime, and got" in str(run.errors[0])
    assert "add tzinfo=UTC" in str(run.failure())


async def test_ten_timers_are_slept_for_one_after_the_other(shop: Process, clock: ManualClock) -> None:
    @workflow("restless")
    def restless() -> None:
        for minutes in range(10):
            sleep(minutes * MINUTE + SECOND)

    await restless(shop.container).run(run_id="r-1", wait=False)
    slept = [await to_the_next_timer(clock) for _ in range(10)]
    run = await restless(shop.container).run(run_id="r-1", wait=True)

    assert slept == [minutes * MINUTE + SECOND for minutes in range(10)]
    assert list(run.steps) == [f"sleep-{number}" for number in range(1, 11)]
    assert {each.state for each in run.steps.values()} == {"completed"}


async def test_what_was_done_before_a_timer_is_undone_after_it(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    first, second, broken = journal.step("first"), journal.step("second"), journal.failing()

    @workflow("regretting")
    def regretting() -> None:
        first()
        sleep(DAY)
        second()
        sleep(SECOND)
        broken()

    await regretting(shop.container).run(run_id="r-1")
    await to_the_next_timer(clock)
    await to_the_next_timer(clock)
    run = await ended(shop, "r-1")

    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["second", "first"])
    assert journal == ["first", "second", "break", "undo second", "undo first"]
