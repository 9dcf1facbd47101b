"""Several schedulers on one store: what one of them does holds for all."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from daemon.clock import from_us
from daemon.retry import Retry
from daemon.schedule.scheduler import Scheduler
from daemon.store.job_model import FiringRecord, FiringState, JobAction, JobOrder
from tests.unit.schedule.world import APP, HOUR, LOOK, MINUTE, NOON, SECOND, World, at, settle


async def two(world: World, **options: Any) -> tuple[Scheduler, Scheduler]:
    first = await world.started(world.job(**options), owner="process-1", look=LOOK)
    return first, await world.started(world.job(**options), owner="process-2", look=LOOK)


async def order(world: World, action: JobAction, reason: str = "") -> None:
    await world.store.order_job(JobOrder(APP, "sweep", action, "ada", reason, world.clock.now_us()))
    await settle()


async def trigger(world: World) -> FiringRecord | None:
    now_us = world.clock.now_us()
    record = FiringRecord(APP, "sweep", now_us, FiringState.WAITING, "", 0, now_us, by="ada", reason="audit")
    ordered = await world.store.trigger_firing(record, overlap="skip")
    await settle()
    return ordered


# --- overlap ---
@pytest.mark.parametrize(
    ("overlap", "states"),
    [("skip", "csc"), ("queue", "ccc"), ("allow", "ccc")],
)
async def test_firings_overlap_as_their_policy_says_whichever_process_has_them(
    world: World, overlap: Any, states: str
) -> None:
    going: list[int] = [0]
    most: list[int] = [0]

    async def count(_: object) -> None:
        going[0] += 1
        most[0] = max(most[0], going[0])
        await world.clock.sleep(90)
        going[0] -= 1

    first, _ = await two(world, overlap=overlap, then=count, ends_at=NOON + 3 * MINUTE)
    await world.advance(MINUTE)
    # The other one has the next: the first has said that it fires nothing more, and goes on with what it has.
    draining = asyncio.create_task(first.drain())
    await world.advance(10 * MINUTE)
    await draining

    assert "".join(each.state[0] for each in await world.firings()) == states
    assert most == [2 if overlap == "allow" else 1]
    assert len({each.owner for each in await world.firings()}) == 2


async def test_one_that_queues_begins_when_another_process_has_ended_the_one_before(world: World) -> None:
    first = await world.started(world.job(takes=90 * SECOND, overlap="queue"), owner="process-1")
    await world.advance(MINUTE)
    draining = asyncio.create_task(first.drain())
    await world.started(world.job(takes=90 * SECOND, overlap="queue"), owner="process-2")

    await world.advance(90 * SECOND)
    await draining

    assert await world.states() == ["12:01:00 completed", "12:02:00 running"]


async def test_no_more_firings_run_than_max_runs_in_all_processes_together(world: World) -> None:
    first, second = await two(world, max_runs=3)

    await world.advance(10 * MINUTE)

    assert world.ran == ["12:01:00", "12:02:00", "12:03:00"]
    assert (first.next_firing("sweep"), second.next_firing("sweep")) == (None, None)


# --- attempts ---


async def test_a_firing_keeps_every_attempt(world: World) -> None:
    async def fail(ctx: Any) -> None:
        raise ValueError(f"no {ctx.attempt}")

    await world.started(world.job(HOUR, retry=Retry(max_attempts=3, delay=SECOND), takes=2 * SECOND, then=fail))

    await world.advance(HOUR + MINUTE)

    (firing,) = await world.firings()
    failures = json.loads(firing.failures)
    assert [(each["attempt"], each["type"], each["message"]) for each in failures] == [
        (number, "ValueError", f"no {number}") for number in (1, 2, 3)
    ]
    assert [each["started_at"][11:19] for each in failures] == ["13:00:00", "13:00:03", "13:00:06"]
    assert [each["ended_at"][11:19] for each in failures] == ["13:00:02", "13:00:05", "13:00:08"]


# --- pauses, and firings that somebody orders ---
async def test_a_paused_job_is_skipped_with_who_and_why_and_what_runs_goes_on(world: World) -> None:
    await two(world, takes=90 * SECOND, overlap="queue")
    await world.advance(2 * MINUTE)

    await order(world, JobAction.PAUSE, "the floor is wet")
    await world.advance(MINUTE + SECOND)
    await order(world, JobAction.RESUME)
    await world.advance(MINUTE)

    states = ["12:01:00 completed", "12:02:00 skipped", "12:03:00 skipped", "12:04:00 running"]
    assert await world.states() == states
    lines = world.lines("job_finished", "outcome", "reason")
    assert lines.count(("skipped", "paused by ada: the floor is wet")) == 2


async def test_a_pause_is_not_made_up_for_by_who_starts_after_it(world: World) -> None:
    first = await world.started(world.job(HOUR, catch_up="all"))
    await first.drain()
    await order(world, JobAction.PAUSE)
    await world.advance(3 * HOUR)
    await order(world, JobAction.RESUME)
    await world.advance(HOUR)

    await world.started(world.job(HOUR, catch_up="all"))

    assert world.ran == ["16:00:00"]


async def test_what_came_due_in_a_pause_while_nobody_ran_is_in_the_history(world: World) -> None:
    first = await world.started(world.job(HOUR))
    await first.drain()
    await world.advance(HOUR + MINUTE)
    await order(world, JobAction.PAUSE, "the floor is wet")
    await world.advance(HOUR)
    await order(world, JobAction.RESUME)
    await world.advance(2 * HOUR)

    await world.started(world.job(HOUR))
    await settle()

    assert await world.states() == ["13:00:00 missed", "14:00:00 skipped", "15:00:00 missed", "16:00:00 completed"]
    assert world.lines("job_finished", "outcome", "reason")[0] == ("skipped", "paused by ada: the floor is wet")


async def test_an_ordered_firing_runs_at_once_and_takes_no_time_from_the_schedule(world: World) -> None:
    await two(world, max_runs=1)
    await order(world, JobAction.PAUSE)

    ordered = await trigger(world)
    await order(world, JobAction.RESUME)
    await world.advance(2 * MINUTE)

    assert ordered is not None
    (first, second) = await world.firings()
    assert (first.trigger, first.by, first.reason, first.state) == ("manual", "ada", "audit", FiringState.COMPLETED)
    assert from_us(first.scheduled_us) == NOON + timedelta(microseconds=1)
    assert (second.trigger, at(from_us(second.scheduled_us))) == ("schedule", "12:01:00")


# --- deployments ---
async def test_of_two_deployments_the_newer_ones_schedule_counts_and_the_older_says_so(world: World) -> None:
    older = await world.started(world.job("10 * * * *"), owner="process-1", look=LOOK)
    await world.advance(SECOND)

    newer = await world.started(world.job("20 * * * *"), owner="process-2", look=LOOK)
    await world.advance(HOUR)

    assert world.ran == ["12:20:00"]
    assert older.next_firing("sweep") is None
    assert newer.next_firing("sweep") == NOON + 80 * MINUTE
    assert len(world.lines("job_superseded")) == 1
    assert world.lines("job_superseded", "level", "job")[0] == ("warning", "sweep")


async def test_an_older_deployment_goes_on_when_the_newer_one_is_gone(world: World) -> None:
    await world.started(world.job("10 * * * *"), owner="process-1", look=LOOK)
    await world.advance(SECOND)
    newer = await world.started(world.job("20 * * * *"), owner="process-2", look=LOOK)
    await world.advance(30 * MINUTE)

    await newer.drain()
    await world.store.retire("process-2")
    await world.advance(HOUR)

    assert world.ran == ["12:20:00", "13:10:00"]


async def test_a_reload_in_one_of_two_processes_loses_and_repeats_nothing(world: World) -> None:
    first, second = await two(world, schedule="10 * * * *")
    await world.advance(11 * MINUTE)

    await first.replace([world.job("20 * * * *")])
    await world.advance(10 * MINUTE)
    await second.replace([world.job("20 * * * *")])
    await world.advance(HOUR)

    assert world.ran == ["12:10:00", "12:20:00", "13:20:00"]


async def test_a_job_that_was_turned_off_does_not_catch_up_when_it_is_turned_on_again(world: World) -> None:
    scheduler = await world.started(world.job(HOUR, catch_up="all"))
    await world.advance(HOUR)
    await scheduler.replace([], ["sweep"])
    await world.advance(HOUR)
    await scheduler.drain()

    await world.started(world.job(HOUR, catch_up="all"))
    await world.advance(HOUR)

    assert world.ran == ["13:00:00", "15:00:00"]
