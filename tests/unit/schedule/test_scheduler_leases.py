"""What a scheduler does while its lease is over, or those of others may seem to be; and what it leaves behind."""

from daemon.store.job_model import FiringState
from tests.unit.schedule.world import APP, GONE, HOUR, LOOK, ME, MINUTE, NOON, SECOND, World, settle


async def test_a_process_whose_lease_is_over_claims_nothing_until_it_has_another(world: World) -> None:
    await world.started(world.job(catch_up="none"), look=HOUR)
    await world.advance(MINUTE)

    world.is_leased = False
    await world.advance(MINUTE + 2 * SECOND)
    meanwhile = await world.states()
    world.is_leased = True
    await world.advance(SECOND)

    assert meanwhile == ["12:01:00 completed"]
    assert await world.states() == ["12:01:00 completed", "12:02:00 completed"]


async def test_what_waits_does_not_begin_while_the_lease_is_over(world: World) -> None:
    await world.started(world.job(jitter=MINUTE), look=LOOK)
    await world.advance(MINUTE)

    world.is_leased = False
    await world.advance(MINUTE - SECOND)
    meanwhile = list(world.ran)
    world.is_leased = True
    await world.advance(LOOK)

    assert meanwhile == []
    assert world.ran[0] == "12:01:00"


async def test_nothing_is_taken_over_before_all_who_live_had_the_time_to_say_so(world: World) -> None:
    await world.fired(NOON - MINUTE, state=FiringState.RUNNING, owner=GONE)
    world.may_take_over = False
    await world.started(world.job(HOUR), look=LOOK)
    await world.advance(LOOK)
    meanwhile = list(world.ran)

    world.may_take_over = True
    await world.advance(LOOK)

    assert meanwhile == []
    assert world.ran == ["11:59:00"]


async def test_a_firing_that_is_cancelled_before_it_has_begun_is_left_to_others(world: World) -> None:
    scheduler = world.scheduler(world.job())
    await world.store.register(APP, ME, lease_s=1e9)
    await world.fired(NOON, state=FiringState.RUNNING, owner=GONE)

    await scheduler.start()  # and no turn of the loop for what it took over
    await scheduler.aclose()

    (firing,) = await world.firings()
    assert (firing.owner, firing.state, scheduler.in_flight) == ("", FiringState.RUNNING, 0)
    assert world.ran == []


async def test_a_handler_whose_firing_another_process_has_is_cancelled_once_its_own_looks(world: World) -> None:
    first = await world.started(world.job(HOUR, takes=MINUTE), world.job(HOUR, name="kept", takes=MINUTE))
    await world.advance(HOUR)
    await world.store.retire(ME)
    second = await world.started(world.job(HOUR, takes=MINUTE), owner="process-2")

    await first.confirm()
    await settle()
    going = (first.in_flight, second.in_flight)
    await world.advance(MINUTE)

    assert going == (1, 1)
    assert [(each.owner, each.attempt, each.state) for each in await world.firings()] == [("process-2", 2, "completed")]
    assert await world.states("kept") == ["13:00:00 completed"]
    assert sorted(world.lines("job_finished", "job", "outcome")) == [
        *(("kept", "ok"), ("sweep", "ok"), ("sweep", "taken_over"))
    ]
