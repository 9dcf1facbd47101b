"""What happens to firings that cannot be on time: overlap, catch-up, take-over, reload, and clocks that jump."""

from datetime import timedelta
from typing import Any

import pytest

from daemon.retry import Retry
from daemon.schedule.backlog import latest_ticks
from daemon.schedule.options import Schedule
from daemon.store.job_model import FiringState
from tests.unit.schedule.world import APP, GONE, HOUR, LOOK, MINUTE, NOON, SECOND, World, at, minutes, settle

DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("overlap", "started", "states"),
    [
        ("skip", {"12:01:00": 0, "12:03:00": 0}, "csc"),
        ("queue", {"12:01:00": 0, "12:02:00": 30, "12:03:00": 60}, "ccc"),
        ("allow", {"12:01:00": 0, "12:02:00": 0, "12:03:00": 0}, "ccc"),
    ],
)
async def test_a_firing_during_the_one_before_is_skipped_queued_or_allowed(
    world: World, overlap: Any, started: dict[str, int], states: str
) -> None:
    late: dict[str, int] = {}

    async def note(ctx: Any) -> None:
        late[at(ctx.scheduled_for)] = int((world.clock.now() - ctx.scheduled_for).total_seconds()) - 90

    await world.started(
        world.job(takes=90 * SECOND, overlap=overlap, then=note, ends_at=NOON + 3 * MINUTE),
        world.job(name="other"),
    )

    await world.advance(10 * MINUTE)

    assert late == started
    assert "".join(each.state[0] for each in await world.firings()) == states
    assert len(await world.firings("other")) == 10


async def test_a_skipped_firing_is_told_with_its_reason_and_does_not_count(world: World) -> None:
    await world.started(world.job(takes=90 * SECOND, max_runs=2))

    await world.advance(10 * MINUTE)

    assert await world.states() == ["12:01:00 completed", "12:02:00 skipped", "12:03:00 completed"]
    assert world.lines("job_finished", "outcome", "reason")[0] == ("skipped", "the firing before goes on")


async def test_a_firing_that_is_delayed_by_jitter_does_not_go_on_yet(world: World) -> None:
    await world.started(world.job(jitter=10 * MINUTE, ends_at=NOON + HOUR))

    await world.advance(2 * HOUR)

    assert {each.state for each in await world.firings()} == {FiringState.COMPLETED}
    assert len(world.ran) == 60


async def test_the_waits_between_attempts_belong_to_the_firing(world: World) -> None:
    async def fail(_: Any) -> None:
        raise ValueError("no")

    retry = Retry(max_attempts=2, delay=90 * SECOND)
    await world.started(world.job(retry=retry, then=fail))

    await world.advance(3 * MINUTE)

    assert (await world.states())[:2] == ["12:01:00 failed", "12:02:00 skipped"]


async def test_no_more_firings_of_a_job_wait_than_a_thousand(world: World) -> None:
    await world.started(world.job(SECOND, takes=HOUR, overlap="queue"))

    await world.advance(1_002 * SECOND)

    states = [each.state for each in await world.firings()]
    waiting, skipped = [FiringState.WAITING] * 999, [FiringState.SKIPPED] * 2
    assert states == [FiringState.RUNNING, *waiting, *skipped]


@pytest.mark.parametrize(
    ("options", "ran", "missed"),
    [
        ({}, [-1], [-4, -3, -2]),
        ({"catch_up": "latest"}, [-1], [-4, -3, -2]),
        ({"catch_up": "all"}, [-4, -3, -2, -1], []),
        ({"catch_up": "none"}, [], [-4, -3, -2, -1]),
        ({"catch_up": "all", "catch_up_window": 3 * HOUR}, [-3, -2, -1], [-4]),
        ({"catch_up_window": MINUTE}, [], [-4, -3, -2, -1]),
        ({"catch_up": "all", "overlap": "allow"}, [-4, -3, -2, -1], []),
        ({"catch_up": "all", "max_runs": 3}, [-4, -3], []),
    ],
    ids=str,
)
async def test_what_was_missed_while_nobody_ran_is_made_up_for_or_recorded_as_missed(
    world: World, options: dict[str, Any], ran: list[int], missed: list[int]
) -> None:
    await world.fired(NOON - 5 * HOUR)
    world.clock.jump(-SECOND)

    await world.started(world.job(HOUR, takes=SECOND / 10, **options))
    await world.advance(SECOND / 2)

    names = {number: f"{12 + number:02}:00:00" for number in range(-5, 0)}
    assert world.ran == [names[number] for number in ran]
    expected = {names[-5]: "completed"}
    expected |= dict.fromkeys((names[number] for number in ran), "completed")
    expected |= dict.fromkeys((names[number] for number in missed), "missed")
    assert await world.states() == [f"{name} {state}" for name, state in sorted(expected.items())]
    assert [line[0][11:19] for line in world.lines("job_missed", "scheduled_for")] == [names[each] for each in missed]


async def test_a_job_that_was_never_seen_before_does_not_catch_up(world: World) -> None:
    await world.started(world.job(HOUR, catch_up="all"))

    await world.advance(HOUR)

    assert await world.states() == ["13:00:00 completed"]


async def test_what_was_missed_is_recorded_by_one_of_many(world: World) -> None:
    await world.fired(NOON - 3 * HOUR)

    for owner in ("process-1", "process-2"):
        await world.started(world.job(HOUR), owner=owner)

    assert world.ran == ["12:00:00"]
    assert len(world.lines("job_missed")) == 2


async def test_a_backlog_is_bounded_and_what_is_left_out_is_told(world: World) -> None:
    await world.fired(NOON - 30 * DAY)

    await world.started(world.job(SECOND, catch_up="none"))

    states = await world.states()
    assert 500 <= len(states) <= 1_001
    assert states[-1].split()[1] == "completed"  # The one of this very second.
    (left_out,) = [line for line in world.log if "since" in line]
    assert (left_out["event"], left_out["since"]) == ("job_missed", "2025-12-02T12:00:00+00:00")


@pytest.mark.parametrize("schedule", ["* * * * * *", "*/7 * * * * mon", "0 0 * * *", SECOND / 10, 7 * DAY], ids=str)
@pytest.mark.parametrize("back", [timedelta(0), SECOND, HOUR, 400 * DAY], ids=str)
def test_the_latest_times_end_with_the_last_one_and_lack_none(schedule: str | timedelta, back: timedelta) -> None:
    plan = Schedule(schedule)

    ticks, is_all = latest_ticks(plan, after=NOON - back, until=NOON, limit=100)

    assert len(ticks) <= 100
    assert is_all or len(ticks) >= 50
    follow = plan.upcoming(ticks[0] - SECOND / 1_000 if ticks else NOON - back)
    assert ticks == [next(follow) for _ in ticks]
    assert next(follow) > NOON


async def test_firings_of_a_dead_process_are_run_again_as_the_next_attempt(world: World) -> None:
    await world.fired(NOON - HOUR, state=FiringState.RUNNING)

    await world.started(world.job(HOUR, catch_up="none", overlap="queue"), world.job(HOUR, name="other"))

    assert world.ran == ["11:00:00", "12:00:00"]
    (firing, _) = await world.firings()
    assert (firing.state, firing.attempt) == (FiringState.COMPLETED, 2)


async def test_firings_of_a_process_that_dies_are_picked_up_by_another(world: World) -> None:
    await world.started(world.job(HOUR, overlap="queue"), look=LOOK)
    await world.store.register(APP, GONE, lease_s=2 * 3_600)
    await world.fired(NOON + HOUR, state=FiringState.RUNNING)

    await world.advance(HOUR + MINUTE)
    before = list(world.ran)
    await world.advance(HOUR + LOOK)

    assert before == []
    assert sorted(world.ran) == ["13:00:00", "14:00:00"]


async def test_a_firing_that_ended_its_process_three_times_has_failed(world: World) -> None:
    await world.fired(NOON - HOUR, state=FiringState.RUNNING, attempt=3, epoch=2)

    await world.started(world.job(HOUR))

    (firing, _) = await world.firings()
    assert (firing.state, firing.error) == (FiringState.FAILED, "it was started 3 times and never ended")
    assert world.ran == ["12:00:00"]


@pytest.mark.parametrize(
    ("jump", "options", "ran", "missed"),
    [
        (timedelta(0), {}, ["12:01:00", "12:02:00", "12:03:00"], 0),
        (HOUR, {}, ["12:01:00", "13:01:00", "13:02:00", "13:03:00"], 59),
        (HOUR, {"catch_up": "none"}, ["12:01:00", "13:01:00", "13:02:00", "13:03:00"], 59),
        (-HOUR, {}, ["12:01:00"], 0),
    ],
    ids=str,
)
async def test_a_clock_that_jumps_loses_and_repeats_nothing(
    world: World, jump: timedelta, options: dict[str, Any], ran: list[str], missed: int
) -> None:
    scheduler = await world.started(world.job(**options), look=LOOK)

    await world.advance(MINUTE + 10 * SECOND)
    world.clock.jump(jump)
    await world.advance(110 * SECOND)

    assert [each for each in world.ran if each >= "12:00:00"] == ran
    assert len(world.lines("job_missed")) == missed
    assert len(set(world.ran)) == len(world.ran)
    assert scheduler.next_firing("sweep") == NOON + 4 * MINUTE + jump


async def test_a_clock_that_was_far_ahead_does_not_silence_a_job(world: World) -> None:
    await world.started(world.job(HOUR, catch_up="none"), look=LOOK)
    world.clock.jump(3_650 * DAY)
    await world.advance(10 * SECOND)
    world.clock.jump(-3_650 * DAY)

    await world.advance(HOUR)

    assert world.ran[-1] == "13:00:00"


async def test_a_reload_goes_on_with_new_schedules_and_neither_loses_nor_repeats_a_firing(world: World) -> None:
    scheduler = await world.started(
        world.job("0 * * * *"), world.job(MINUTE, name="kept"), world.job(MINUTE, name="removed")
    )
    await world.advance(HOUR + 30 * SECOND)

    await scheduler.replace([world.job("10,0 * * * *"), world.job(MINUTE, name="kept"), world.job(MINUTE, name="new")])
    await world.advance(12 * MINUTE)

    assert await world.states() == ["13:00:00 completed", "13:10:00 completed"]
    assert [len(await world.states(name)) for name in ("kept", "removed", "new")] == [72, 60, 12]
    assert scheduler.next_firing("removed") is None


async def test_a_reload_fires_no_time_of_the_new_schedule_that_has_passed(world: World) -> None:
    scheduler = await world.started(world.job("0 0 * * *", catch_up="all"))
    await world.advance(12 * HOUR + 50 * MINUTE)

    await scheduler.replace([world.job("30 0 * * *", catch_up="all")])
    await settle()

    assert world.ran == ["00:00:00"]


async def test_a_handler_goes_on_through_a_reload_and_keeps_its_turn(world: World) -> None:
    slow = world.job(takes=90 * SECOND)
    scheduler = await world.started(slow)
    await world.advance(MINUTE)

    await scheduler.replace([])
    await scheduler.replace([slow])
    await world.advance(3 * MINUTE)

    assert (await world.states())[:3] == ["12:01:00 completed", "12:02:00 skipped", "12:03:00 running"]


async def test_a_firing_that_waits_for_its_delay_survives_a_reload(world: World) -> None:
    jittery = world.job(HOUR, jitter=HOUR)
    scheduler = await world.started(jittery)
    await world.advance(HOUR)

    await scheduler.replace([])
    await world.advance(2 * HOUR)

    assert await world.states() == ["13:00:00 completed"]
    assert minutes([60])[0] + jittery.delay(NOON + HOUR) < world.clock.now()
