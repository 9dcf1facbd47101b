"""What is deleted once it is old."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from daemon.clock import ManualClock
from daemon.engine.retention import Retention
from daemon.store.port import RunFilter, Store
from daemon.store.writes import InsertRun
from tests.contract.engine.processes import APP, Process
from tests.contract.records import ended

DAY = timedelta(days=1)
KEEP = 30 * DAY


def retention(process: Process, clock: ManualClock, *, store: Store | None = None, keep: timedelta = KEEP) -> Retention:
    return Retention(
        process.engine,
        store or process.store,
        clock,
        app=APP,
        keep=keep,
    )


@asynccontextmanager
async def working(kept: Retention) -> AsyncIterator[None]:
    await kept.start()
    try:
        yield
    finally:
        await kept.aclose()


async def left(store: Store) -> list[str]:
    return sorted(each.run_id for each in (await store.runs(APP, RunFilter(), after=None, limit=1_000)).records)


async def keep_old_runs(store: Store, clock: ManualClock, count: int, **changes: Any) -> None:
    """Have runs that ended long ago."""
    at_us = clock.now_us() - 2 * KEEP // timedelta(microseconds=1)
    await store.commit(*[InsertRun(ended(f"old-{number}", at_us + number, **changes)) for number in range(count)])
