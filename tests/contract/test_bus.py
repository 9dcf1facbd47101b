"""The embedded bus keeps the promises of every bus, on the store in memory and on SQLite."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.clock import SystemClock
from daemon.events.bus import Bus
from daemon.events.embedded import EmbeddedBus
from daemon.store.memory import MemoryStore
from daemon.store.sqlite import SqliteStore
from tests.contract.bus_contract import CLAIMS, Claim, name_of_claim

if TYPE_CHECKING:
    from daemon.store.port import Store

LEASE_S = 60.0


class EmbeddedWorld:
    """Buses of one application on one database, each with a store of its own, or all on one in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._memory = MemoryStore()
        self._buses: dict[EmbeddedBus, tuple[Store, str]] = {}

    async def bus(self) -> Bus:
        store: Store = self._memory if self._path is None else SqliteStore(self._path, synchronous="NORMAL")
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


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
    opened = EmbeddedWorld(None if request.param == "memory" else tmp_path / "queues.db")
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("claim", CLAIMS, ids=name_of_claim)
async def test_the_embedded_bus_keeps_its_promise(claim: Claim, world: EmbeddedWorld) -> None:
    await claim(world)
