"""A store on a real PostgreSQL, and another one on the same schema that reaches it through a proxy."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from daemon.store.postgres import PostgresStore
from tests.contract.records import APP
from tests.integration.proxy import Proxy


@pytest.fixture
async def store(postgres_url: str, schema: str) -> AsyncIterator[PostgresStore]:
    async with AsyncExitStack() as stack:
        opened = PostgresStore(postgres_url, app=APP, schema=schema)
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_url) as opened:
        yield opened


@pytest.fixture
async def far(proxy: Proxy, store: PostgresStore, schema: str) -> AsyncIterator[PostgresStore]:
    """A store on the same schema, whose connections go through the proxy."""
    async with AsyncExitStack() as stack:
        opened = PostgresStore(proxy.url, app=APP, schema=schema)
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened
