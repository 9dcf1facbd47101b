"""An engine on one of the stores, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.million.databases import APP, Databases, Name
from daemon.clock import SystemClock, new_id
from daemon.container import Services
from daemon.engine.engine import WorkflowEngine
from daemon.engine.ports import Ports
from daemon.workflow.port import Engine

if TYPE_CHECKING:
    import svcs

    from daemon.store.port import Store


@asynccontextmanager
async def engine_on(data: Databases, name: Name) -> AsyncIterator["tuple[svcs.Container, WorkflowEngine, Store]"]:
    """Give an engine on a store, a container that leads to it, and the store itself."""
    store = data.store(name)
    await store.open()
    try:
        services, owner = Services(), new_id(SystemClock().now_us())
        await store.register(APP, owner, lease_s=3_600)
        ports = Ports(store, SystemClock(), APP, owner, 1 << 20, 30.0)
        engine = WorkflowEngine(ports, containers=services.handler_container)
        services.register_value(Engine, engine)
        async with services:
            yield services.handler_container(), engine, store
        await engine.drain(5)
        await store.retire(owner)
    finally:
        await store.aclose()
