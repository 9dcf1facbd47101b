"""What the tests on real servers have in common."""

from collections.abc import AsyncIterator

import pytest

from tests.services import own_schema


@pytest.fixture
async def schema(postgres_url: str) -> AsyncIterator[str]:
    """A schema of PostgreSQL for this test alone."""
    async with own_schema(postgres_url) as name:
        yield name
