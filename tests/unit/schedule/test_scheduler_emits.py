"""What a job's handler emits."""

import json

from daemon.events.model import Event, unpack
from daemon.retry import Retry
from daemon.schedule.job import JobContext
from tests.unit.schedule.world import APP, HOUR, ME, MINUTE, SECOND, World


class Swept(Event, name="floor.swept"):
    attempt: int


async def test_what_a_handler_emits_is_staged_with_its_end_and_dropped_if_it_fails(world: World) -> None:
    async def emit(ctx: JobContext) -> None:
        ctx.emit(Swept(attempt=ctx.attempt))
        if ctx.attempt == 1:
            raise ValueError("once more")

    await world.started(world.job(HOUR, retry=Retry(max_attempts=2), then=emit))

    await world.advance(HOUR)

    (staged,) = await world.store.outgoing(APP, limit=10)
    assert json.loads(unpack(staged.message).body) == {"attempt": 2}
    assert world.staged == 1


async def test_what_is_emitted_immediately_is_staged_while_the_handler_still_runs(world: World) -> None:
    async def emit(ctx: JobContext) -> None:
        ctx.emit(Swept(attempt=1), immediately=True)
        await world.clock.sleep(60)
        raise ValueError("too late")

    await world.started(world.job(HOUR, then=emit))

    await world.advance(HOUR + SECOND)

    assert (len(await world.store.outgoing(APP, limit=10)), world.staged) == (1, 1)


async def test_a_firing_that_another_process_took_over_stages_nothing(world: World) -> None:
    async def emit(ctx: JobContext) -> None:
        ctx.emit(Swept(attempt=1))
        await world.clock.sleep(60)

    await world.started(world.job(HOUR, then=emit))

    await world.advance(HOUR + SECOND)
    await world.store.register(APP, "process-2", lease_s=3_600)
    await world.store.retire(ME)
    taken = await world.store.claim_firings(APP, "process-2", ["sweep"], limit=1)
    await world.advance(MINUTE)

    assert len(taken) == 1
    assert await world.store.outgoing(APP, limit=10) == []
    assert world.lines("job_finished", "outcome") == [("taken_over",)]
