"""What a watch of runs tells, in short."""

import asyncio
from collections.abc import AsyncIterator

from daemon import RunEvent

Told = tuple[str, str]


def told(event: RunEvent) -> Told:
    return event.step or event.run_id, event.state.value


async def all_of(watch: AsyncIterator[RunEvent]) -> list[Told]:
    """Return what a watch tells until it ends by itself."""
    return [told(event) async for event in watch]


async def up_to(watch: AsyncIterator[RunEvent], last: Told) -> list[Told]:
    found: list[Told] = []
    while last not in found:
        found.append(told(await asyncio.wait_for(anext(watch), 5)))
    return found
