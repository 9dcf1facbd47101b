"""The stores that have to keep the same promises."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.contract.records import APP
from tests.services import emptied, shared_schema


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have every test of a store run on all of them."""
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", ["memory", "sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def postgres_schema(postgres_url: str) -> Iterator[str]:
    """A schema that the tests use one after the other: to make one takes longer than most of them."""
    with shared_schema(postgres_url) as name:
        yield name


@pytest.fixture
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    async with AsyncExitStack() as stack:
        opened: Store
        if request.param == "memory":
            opened = MemoryStore()
        elif request.param == "sqlite":
            opened = SqliteStore(tmp_path / "sagad.db")
        else:
            url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
            opened = PostgresStore(url, app=APP, schema=await stack.enter_async_context(emptied(url, schema)))
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened
