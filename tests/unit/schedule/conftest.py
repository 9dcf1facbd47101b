from collections.abc import AsyncIterator

import pytest

from tests.unit.schedule.world import World, opened_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened_world() as opened:
        yield opened
