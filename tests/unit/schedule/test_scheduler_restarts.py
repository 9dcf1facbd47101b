"""What the scheduler of the next process makes of what the one before left."""

import asyncio
import json
from datetime import timedelta
from typing import Any

from daemon.clock import to_us
from daemon.retry import Retry
from daemon.schedule.scheduler import Scheduler
from daemon.store.job_model import FiringState
from tests.unit.schedule.world import APP, HOUR, MINUTE, NOON, SECOND, World


async def die(world: World, scheduler: Scheduler, owner: str) -> None:
    """End a process as a kill does: nothing that it was at is written any more, and its lease is over."""
    commit = world.store.commit
    world.store.commit = lambda *_: asyncio.get_running_loop().create_future()  # type: ignore[method-assign]
    await scheduler.aclose()
    world.store.commit = commit  # type: ignore[method-assign]
    await world.store.retire(owner)


async def test_a_job_that_was_seen_but_never_fired_is_made_up_for(world: World) -> None:
    first = await world.started(world.job(HOUR, catch_up="all"))
    await first.drain()

    await world.advance(2 * HOUR + MINUTE)
    await world.started(world.job(HOUR, catch_up="all"))

    assert world.ran == ["13:00:00", "14:00:00"]


async def test_a_restart_with_another_schedule_fires_no_time_that_was_never_due(world: World) -> None:
    first = await world.started(world.job("0 * * * *", catch_up="all"))
    await world.advance(HOUR)
    await first.drain()

    await world.advance(50 * MINUTE)
    await world.started(world.job("30 * * * *", catch_up="all"))
    await world.advance(HOUR)

    assert world.ran == ["13:00:00", "14:30:00"]
    assert world.lines("job_missed") == []


async def test_a_restart_with_another_policy_makes_up_for_what_was_missed(world: World) -> None:
    first = await world.started(world.job(HOUR, catch_up="all"))
    await first.drain()

    await world.advance(2 * HOUR)
    await world.started(world.job(HOUR, catch_up="all", overlap="queue", max_runs=1))

    assert world.ran == ["13:00:00"]


async def test_a_change_of_daylight_saving_is_made_up_for_over_a_restart(world: World) -> None:
    world.clock.jump(timedelta(days=86, hours=12))  # 2026-03-29, 00:00 UTC: at 01:00 Berlin goes on from 02:00 to 03:00
    job = world.job("30 2 * * *", timezone="Europe/Berlin")
    first = await world.started(job)
    await first.drain()

    await world.advance(6 * HOUR)
    await world.started(job)
    await world.advance(20 * HOUR)

    assert world.ran == ["01:00:00", "00:30:00"]


async def test_how_many_runs_are_left_outlives_the_firings(world: World) -> None:
    first = await world.started(world.job(max_runs=3))
    await world.advance(2 * MINUTE)
    await first.drain()
    await world.store.prune_firings(APP, before_us=to_us(NOON + HOUR), limit=100)

    await world.started(world.job(max_runs=3, catch_up="none"))
    await world.advance(HOUR)

    assert world.ran == ["12:01:00", "12:02:00", "12:03:00"]


async def test_the_wait_for_the_next_attempt_goes_on_in_the_next_process(world: World) -> None:
    async def fail(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ValueError("no")

    swept = world.job(HOUR, retry=Retry(max_attempts=2, delay=10 * MINUTE), then=fail)
    first = await world.started(swept)
    await world.advance(HOUR + MINUTE)
    await first.drain()
    await world.advance(MINUTE)

    await world.started(swept, owner="process-2")
    await world.advance(7 * MINUTE)
    early = list(world.ran)
    await world.advance(MINUTE)

    assert (early, world.ran) == (["13:00:00"], ["13:00:00"] * 2)
    (firing,) = await world.firings()
    assert (firing.state, firing.attempt, firing.epoch) == (FiringState.COMPLETED, 2, 0)


async def test_a_delay_goes_on_in_the_next_process(world: World) -> None:
    jittery = world.job(HOUR, jitter=HOUR)
    first = await world.started(jittery)
    await world.advance(HOUR)
    await first.drain()

    await world.started(jittery, owner="process-2")
    await world.advance(jittery.delay(NOON + HOUR) - SECOND)
    early = await world.states()
    await world.advance(SECOND)

    assert early == ["13:00:00 waiting"]
    assert await world.states() == ["13:00:00 completed"]


async def test_a_stop_is_no_crash_however_often_it_happens(world: World) -> None:
    swept = world.job(HOUR, takes=10 * MINUTE, catch_up="none")
    for number in range(5):
        scheduler = await world.started(swept, owner=f"process-{number}")
        await world.advance(HOUR if number == 0 else MINUTE)
        await scheduler.aclose()

    await world.started(swept)
    await world.advance(10 * MINUTE)

    (firing,) = await world.firings()
    assert (firing.state, firing.attempt, firing.epoch) == (FiringState.COMPLETED, 6, 0)
    assert len(json.loads(firing.failures)) == 5


async def test_a_firing_whose_process_dies_of_it_three_times_has_failed(world: World) -> None:
    swept = world.job(HOUR, takes=10 * MINUTE, catch_up="none")
    for number in range(3):
        scheduler = await world.started(swept, owner=f"process-{number}")
        await world.advance(HOUR if number == 0 else MINUTE)
        await die(world, scheduler, f"process-{number}")

    await world.started(swept)

    (firing,) = await world.firings()
    assert (firing.state, firing.error) == (FiringState.FAILED, "it was started 3 times and never ended")
    assert world.ran == ["13:00:00"] * 3
