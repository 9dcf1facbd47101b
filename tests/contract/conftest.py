"""The stores that have to keep the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sagad.db")
    await opened.open()
    yield opened
    await opened.aclose()
