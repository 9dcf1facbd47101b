"""The shipped application in memory, as its users would test theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.testing import Harness

SHIPPED = Path(__file__).parents[2]


@pytest.fixture
async def app() -> AsyncIterator[Harness]:
    async with Harness(SHIPPED) as app:
        yield app
