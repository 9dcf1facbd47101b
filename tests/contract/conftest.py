"""The stores that have to keep the same promises."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.contract.records import APP
from tests.services import own_schema

# The engine's suites that depend on what is committed when; the others would only repeat them, more slowly.
ON_POSTGRES = frozenset(
    {
        "test_cancelled_starts",
        "test_cancelling",
        "test_crashes",
        "test_external_steps",
        "test_rollback",
        "test_run_ids",
        "test_taken_back",
        "test_writes",
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have every test of a store run on all of them."""
    if "store" in metafunc.fixturenames:
        _, _, name = metafunc.module.__name__.rpartition(".")
        is_store = name.startswith("test_store_") or name in ON_POSTGRES
        metafunc.parametrize("store", ["memory", "sqlite", *["postgres"] * is_store], indirect=True)


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
            url = request.getfixturevalue("postgres_url")
            opened = PostgresStore(url, app=APP, schema=await stack.enter_async_context(own_schema(url)))
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened
