"""One firing after the other: on time, claimed, tried, recorded, told."""

import asyncio
from datetime import datetime, timedelta

import pytest

from daemon.activation import current_activation
from daemon.errors import RunNotCompleted
from daemon.retry import Retry
from daemon.schedule.job import JobContext, job
from daemon.store.job_model import FiringState
from tests.unit.schedule.world import HOUR, ME, MINUTE, NOON, SECOND, World, minutes

RETRY = Retry(max_attempts=3, delay=timedelta(seconds=10), backoff=2)


async def fail(_: JobContext) -> None:
    raise ValueError("the broom is broken")


async def test_a_job_fires_at_its_times_and_each_firing_is_recorded_and_told_in_one_line(world: World) -> None:
    scheduler = await world.started(world.job("*/2 * * * *", takes=3 * SECOND))

    await world.advance(5 * MINUTE)

    assert world.ran == ["12:02:00", "12:04:00"]
    assert await world.states() == ["12:02:00 completed", "12:04:00 completed"]
    (first, _) = await world.firings()
    assert (first.owner, first.attempt, first.error) == (ME, 1, "")
    assert (first.ended_us or 0) - first.scheduled_us == 3_000_000
    fields = ("level", "job", "scheduled_for", "attempt", "outcome", "duration_ms")
    assert world.lines("job_finished", *fields)[0] == ("info", "sweep", "2026-01-01T12:02:00+00:00", 1, "ok", 3_000.0)
    assert len(world.lines("job_finished")) == 2
    assert scheduler.next_firing("sweep") == NOON + 6 * MINUTE


async def test_the_handler_gets_its_context_and_runs_get_the_firing_as_their_trigger(world: World) -> None:
    seen: list[object] = []

    async def look(ctx: JobContext) -> None:
        activation = current_activation()
        assert activation is not None
        seen.extend((ctx.data, ctx.scheduled_for, ctx.attempt, ctx.options))
        seen.extend((activation.trigger.kind, activation.trigger.name, activation.trigger.id, activation.identity))
        ctx.log.info("looked")

    await world.started(world.job(data={"room": "hall"}, then=look))

    await world.advance(MINUTE)

    iso = "2026-01-01T12:01:00+00:00"
    assert seen == [{"room": "hall"}, NOON + MINUTE, 1, {"job": "sweep"}, "job", "sweep", iso, (iso,)]
    assert world.lines("looked", "job", "scheduled_for", "attempt") == [("sweep", iso, 1)]


async def test_a_handler_without_a_parameter_is_called_without_one(world: World) -> None:
    @job(MINUTE)
    async def dust() -> None:
        world.ran.append("dusted")

    await world.started(dust)

    await world.advance(MINUTE)

    assert world.ran == ["dusted"]


async def test_of_several_schedulers_one_fires(world: World) -> None:
    for owner in ("process-1", "process-2", "process-3"):
        await world.started(world.job(), owner=owner)

    await world.advance(3 * MINUTE)

    assert world.ran == ["12:01:00", "12:02:00", "12:03:00"]
    assert len(world.lines("job_finished")) == 3


async def test_a_handler_that_raises_ends_its_firing_and_nothing_else(world: World) -> None:
    await world.started(world.job(then=fail), world.job(name="other"))

    await world.advance(2 * MINUTE)

    assert await world.states() == ["12:01:00 failed", "12:02:00 failed"]
    assert await world.states("other") == ["12:01:00 completed", "12:02:00 completed"]
    assert (await world.firings())[0].error == "ValueError: the broom is broken"
    line = world.lines("job_finished", "job", "outcome", "error", "reason")[0]
    assert line == ("sweep", "failed", "ValueError", "the broom is broken")


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=lambda error: type(error).__name__)
async def test_whatever_a_handler_raises_is_its_firings_failure(world: World, error: BaseException) -> None:
    async def leave(_: JobContext) -> None:
        raise error

    await world.started(world.job(then=leave))

    await world.advance(2 * MINUTE)

    assert await world.states() == ["12:01:00 failed", "12:02:00 failed"]


async def test_a_handler_that_hangs_delays_no_other_job(world: World) -> None:
    await world.started(world.job(takes=1_000 * HOUR), world.job(name="other"))

    await world.advance(3 * MINUTE)

    assert await world.states("other") == ["12:01:00 completed", "12:02:00 completed", "12:03:00 completed"]


async def test_a_failed_firing_is_tried_again_by_its_policy_on_its_nominal_time(world: World) -> None:
    async def fail_twice(ctx: JobContext) -> None:
        if ctx.attempt < 3:
            raise ValueError("not yet")

    await world.started(world.job(HOUR, retry=RETRY, then=fail_twice))

    await world.advance(HOUR)
    await world.advance(9 * SECOND)
    early = list(world.ran)
    await world.advance(21 * SECOND)

    assert (early, world.ran) == (["13:00:00"], ["13:00:00"] * 3)
    (firing,) = await world.firings()
    assert (firing.state, firing.attempt, firing.error) == (FiringState.COMPLETED, 3, "")
    assert world.lines("job_retried", "attempt", "delay_s", "reason") == [(1, 10.0, "not yet"), (2, 20.0, "not yet")]
    assert world.lines("job_finished", "attempt", "outcome") == [(3, "ok")]


async def test_a_firing_fails_when_its_attempts_are_used_up_or_the_error_is_final(world: World) -> None:
    final = Retry(max_attempts=3, never_on=(ValueError,))
    await world.started(world.job(HOUR, retry=RETRY, then=fail), world.job(HOUR, name="other", retry=final, then=fail))

    await world.advance(HOUR + MINUTE)

    attempts = [(each.state, each.attempt) for name in ("sweep", "other") for each in await world.firings(name)]
    assert attempts == [(FiringState.FAILED, 3), (FiringState.FAILED, 1)]


async def test_a_handler_that_takes_too_long_is_cancelled_and_has_failed(world: World) -> None:
    await world.started(world.job(HOUR, timeout=MINUTE, takes=2 * MINUTE, retry=Retry(max_attempts=2)))

    await world.advance(HOUR + 2 * MINUTE)

    (firing,) = await world.firings()
    assert (firing.state, firing.attempt) == (FiringState.FAILED, 2)
    assert firing.error == "TimeoutError: job 'sweep' did not end within 60 s"


async def test_a_handler_that_takes_its_cancellation_for_an_end_has_failed_all_the_same(world: World) -> None:
    async def deny(_: JobContext) -> None:
        try:
            await world.clock.sleep(600)
        except asyncio.CancelledError:
            world.ran.append("cancelled")

    await world.started(world.job(HOUR, timeout=MINUTE, then=deny))

    await world.advance(2 * HOUR + MINUTE)

    assert world.ran == ["13:00:00", "cancelled", "14:00:00", "cancelled"]
    assert await world.states() == ["13:00:00 failed", "14:00:00 failed"]


async def test_a_run_that_is_parked_ends_its_firing_as_accepted(world: World) -> None:
    async def start_run(ctx: JobContext) -> None:
        raise RunNotCompleted("run-1", "place-order", "waiting" if ctx.scheduled_for.hour == 13 else "reverted")

    await world.started(world.job(HOUR, then=start_run))

    await world.advance(2 * HOUR)

    assert await world.states() == ["13:00:00 completed", "14:00:00 failed"]
    assert world.lines("job_finished", "outcome", "run_id") == [("parked", "run-1"), ("failed", None)]


async def test_jitter_delays_the_start_and_leaves_the_nominal_times(world: World) -> None:
    delays: dict[datetime, timedelta] = {}

    async def note(ctx: JobContext) -> None:
        delays[ctx.scheduled_for] = world.clock.now() - ctx.scheduled_for

    jittery = world.job(jitter=2 * MINUTE, ends_at=NOON + HOUR, then=note)
    await world.started(jittery)

    await world.advance(HOUR + 2 * MINUTE)

    assert delays == {tick: jittery.delay(tick) for tick in minutes(range(1, 61))}


async def test_max_runs_counts_the_firings_of_all_processes_and_not_those_that_did_not_run(world: World) -> None:
    await world.fired(*minutes([-9, -8, -7]), state=FiringState.SKIPPED)
    await world.fired(*minutes([-6, -5]), state=FiringState.FAILED)
    await world.fired(NOON - MINUTE)
    first = await world.started(world.job(max_runs=5), owner="process-1")
    await world.started(world.job(max_runs=5), owner="process-2")

    await world.advance(5 * MINUTE)

    assert world.ran == ["12:00:00", "12:01:00"]
    assert first.next_firing("sweep") is None


async def test_a_job_fires_from_its_first_moment_to_its_last(world: World) -> None:
    scheduler = await world.started(world.job(starts_at=NOON + 2 * MINUTE, ends_at=NOON + 4 * MINUTE))

    await world.advance(10 * MINUTE)

    assert world.ran == ["12:02:00", "12:03:00", "12:04:00"]
    assert scheduler.next_firing("sweep") is None


async def test_draining_lets_handlers_end_and_leaves_what_waits_to_the_next_start(world: World) -> None:
    jobs = [
        world.job(MINUTE, takes=20 * SECOND),
        world.job(MINUTE, name="retried", retry=RETRY, then=fail),
        world.job(MINUTE, name="queued", takes=70 * SECOND, overlap="queue"),
    ]
    scheduler = await world.started(*jobs)
    await world.advance(2 * MINUTE + SECOND)

    draining = asyncio.create_task(scheduler.drain(30))
    await world.advance(25 * SECOND)

    assert (scheduler.running, draining.done(), scheduler.in_flight) == (False, True, 0)
    assert await world.states() == ["12:01:00 completed", "12:02:00 completed"]
    assert (await world.states("retried"))[-1] == "12:02:00 running"
    assert await world.states("queued") == ["12:01:00 completed", "12:02:00 waiting"]
    assert {each.owner for name in ("retried", "queued") for each in (await world.firings(name))[-1:]} == {""}
    await world.advance(HOUR)
    assert len(await world.states()) == 2


async def test_what_does_not_end_in_time_is_cancelled_and_run_again_by_the_next_process(world: World) -> None:
    swept = world.job(HOUR, takes=10 * MINUTE)
    scheduler = await world.started(swept)
    await world.advance(HOUR)

    draining = asyncio.create_task(scheduler.drain(30))
    await world.advance(30 * SECOND)
    left = await world.firings()
    await draining
    await world.started(swept, owner="process-2")
    await world.advance(10 * MINUTE)

    assert [(each.state, each.attempt) for each in left] == [(FiringState.RUNNING, 1)]
    assert world.ran == ["13:00:00", "13:00:00"]
    assert [(each.state, each.attempt) for each in await world.firings()] == [(FiringState.COMPLETED, 2)]
    assert world.lines("job_finished", "outcome") == [("cancelled",), ("ok",)]
