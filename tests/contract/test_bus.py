"""The embedded bus keeps the promises of every bus, on every store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.clock import SystemClock
from daemon.events.bus import Bus
from daemon.events.embedded import EmbeddedBus
from daemon.store.memory import MemoryStore
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.contract.bus_contract import CLAIMS, Claim, name_of_claim
from tests.services import own_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.store.port import Store

LEASE_S = 60.0


class EmbeddedWorld:
    """Buses of one application on one database, each with a store of its own, or all on one in memory."""

    def __init__(self, store: "Callable[[], Store]") -> None:
        self._store = store
        self._buses: dict[EmbeddedBus, tuple[Store, str]] = {}

    async def bus(self) -> Bus:
        store = self._store()
        await store.open()
        owner = f"process-{len(self._buses) + 1}"
        await store.register("shop", owner, lease_s=LEASE_S)
        bus = EmbeddedBus(store, app="shop", owner=owner, clock=SystemClock())
        await bus.start()
        self._buses[bus] = store, owner
        return bus

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, EmbeddedBus)
        store, owner = self._buses[bus]
        bus._stop_hints()
        bus._stop_hints = lambda: None
        for _, timer in bus._timers.values():
            timer.cancel()
        bus._timers.clear()
        assert bus._pump is not None
        bus._pump.cancel()
        with suppress(asyncio.CancelledError):
            await bus._pump
        bus._pump = None
        bus._consumers.clear()
        await store.retire(owner)

    async def aclose(self) -> None:
        for bus, (store, _) in self._buses.items():
            await bus.aclose()
            await store.aclose()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
    async with AsyncExitStack() as stack:
        if request.param == "postgres":
            url = request.getfixturevalue("postgres_url")
            schema = await stack.enter_async_context(own_schema(url))
            opened = EmbeddedWorld(lambda: PostgresStore(url, app="shop", schema=schema))
        elif request.param == "sqlite":
            opened = EmbeddedWorld(lambda: SqliteStore(tmp_path / "queues.db", synchronous="NORMAL"))
        else:
            memory = MemoryStore()
            opened = EmbeddedWorld(lambda: memory)
        stack.push_async_callback(opened.aclose)
        yield opened


@pytest.mark.parametrize("claim", CLAIMS, ids=name_of_claim)
async def test_the_embedded_bus_keeps_its_promise(claim: Claim, world: EmbeddedWorld) -> None:
    await claim(world)
