"""Turns at even intervals."""

import asyncio
from datetime import timedelta

from daemon.clock import ManualClock
from daemon.events.pace import Pace


async def settled() -> None:
    """Let the loop do all that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_turns_come_at_even_intervals_and_the_first_at_once() -> None:
    clock = ManualClock()
    pace = Pace(clock, 4)
    taken: list[float] = []

    async def take() -> None:
        for _ in range(3):
            await pace.turn()
            taken.append(clock.monotonic_s())

    began_s = clock.monotonic_s()
    taking = asyncio.create_task(take())
    for _ in range(4):
        await settled()
        clock.advance(timedelta(seconds=0.125))

    await settled()
    assert [round(at_s - began_s, 3) for at_s in taken] == [0.0, 0.25, 0.5]
    assert taking.done()


async def test_who_was_slow_does_not_catch_up() -> None:
    clock = ManualClock()
    pace = Pace(clock, 4)
    await pace.turn()
    clock.advance(timedelta(seconds=10))

    await pace.turn()  # long due
    next_turn = asyncio.create_task(pace.turn())
    await settled()

    assert not next_turn.done()
    clock.advance(timedelta(seconds=0.25))
    await next_turn
