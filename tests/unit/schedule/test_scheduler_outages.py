"""Firings while the store cannot be used."""

import pytest

from daemon.errors import StoreUnavailableError
from daemon.retry import Retry
from daemon.store.job_model import FiringState
from tests.unit.schedule.world import HOUR, LOOK, MINUTE, NOON, SECOND, World, at, settle


async def test_nothing_is_claimed_while_the_store_cannot_be_written_and_it_is_made_up_for_afterwards(
    world: World,
) -> None:
    scheduler = await world.started(world.job("10 * * * *"), world.job(SECOND, name="often"), look=LOOK)

    world.store.trouble = "The disk is full."
    await world.advance(11 * MINUTE)
    claimed = await world.states() + await world.states("often")
    with pytest.raises(StoreUnavailableError, match="The disk is full"):
        await scheduler.replace([])
    world.store.trouble = ""
    await world.advance(LOOK)
    await settle()
    await settle()

    assert claimed == []
    assert await world.states() == ["12:10:00 completed"]
    assert (await world.states("often"))[-1] == "12:11:05 completed"


async def test_what_could_not_be_claimed_stays_due(world: World) -> None:
    await world.started(world.job(MINUTE), world.job(SECOND, name="often", catch_up="all"), look=HOUR)

    world.store.is_away = True
    await world.advance(MINUTE + 5 * SECOND)
    claimed = await world.states() + await world.states("often")
    world.store.is_away = False
    await world.advance(2 * SECOND)

    assert claimed == []
    assert await world.states() == ["12:01:00 completed"]
    assert [each.split()[0] for each in await world.states("often")] == [at(NOON + n * SECOND) for n in range(1, 68)]


async def test_a_claim_that_the_store_refuses_stops_no_other(world: World) -> None:
    world.store.poison = "other"
    await world.started(world.job(), world.job(name="other"), world.job(name="third"))

    await world.advance(2 * MINUTE)

    assert await world.states() == await world.states("third") == ["12:01:00 completed", "12:02:00 completed"]
    assert await world.states("other") == []
    assert world.lines("job_not_fired", "job") == [("other",)] * 2


async def test_a_handler_that_misses_the_store_is_called_again_and_that_is_no_attempt(world: World) -> None:
    is_away = True

    async def look(_: object) -> None:
        if is_away:
            raise StoreUnavailableError("It is away.")

    await world.started(world.job(HOUR, retry=Retry.never(), then=look))

    await world.advance(HOUR + 3 * SECOND)
    early = await world.states()
    is_away = False
    await world.advance(SECOND)

    (firing,) = await world.firings()
    assert early == ["13:00:00 running"]
    assert (firing.state, firing.attempt, firing.error) == (FiringState.COMPLETED, 1, "")
    assert world.ran == ["13:00:00"] * 3
