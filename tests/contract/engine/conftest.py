"""A process with an engine, on every store."""

from collections.abc import AsyncIterator

import pytest

from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.bench import Bench
from tests.contract.engine.deploys import Fleet
from tests.contract.engine.gate import Gate
from tests.contract.engine.processes import Journal, Process


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until it is moved."""
    return ManualClock()


@pytest.fixture
async def shop(store: Store, clock: ManualClock) -> AsyncIterator[Process]:
    """A process that is alive."""
    process = Process(store, clock, "process-1")
    await process.announce()
    yield process
    await process.engine.drain(0)


@pytest.fixture
def journal() -> Journal:
    """What steps did."""
    return Journal()


@pytest.fixture
def bench(journal: Journal) -> Bench:
    """Steps that take and give a text."""
    return Bench(journal)


@pytest.fixture
def fleet(store: Store, clock: ManualClock) -> Fleet:
    """Processes with different code."""
    return Fleet(store, clock)


@pytest.fixture
def gate(journal: Journal) -> Gate:
    """A step that waits until it is told to go on."""
    return Gate(journal)
