"""That a daemon deletes what was kept for long enough, and other programs do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from daemon.app import App
from daemon.clock import ManualClock
from daemon.config import Config
from daemon.container import Services
from daemon.discovery import Discovered
from daemon.log import captured_log
from daemon.store.writes import InsertRun
from daemon.testing.memory import in_memory
from daemon.work import Work
from tests.contract.engine.processes import until
from tests.contract.records import ended

DAY_S = 86_400


@asynccontextmanager
async def opened(clock: ManualClock, *, is_daemon: bool) -> AsyncIterator[App]:
    """An application that has a run that ended three days ago; it works if it is a daemon."""
    config = Config(app={"name": "shop"}, storage={"retention_s": 2 * DAY_S})
    app, _ = in_memory(config, Discovered(), clock=clock, services=Services(()), is_daemon=is_daemon)
    await app.start()
    await app.store.commit(InsertRun(ended("old", clock.now_us() - 3 * DAY_S * 1_000_000)))
    work = Work(app)
    await (work.start() if is_daemon else app.recovery.start())
    try:
        yield app
    finally:
        if is_daemon:
            await work.aclose()
        await app.aclose()


async def test_a_daemon_deletes_as_its_configuration_says() -> None:
    clock = ManualClock()

    with captured_log() as lines:
        async with opened(clock, is_daemon=True) as app:
            await until(lambda: any(line["event"] == "retention_applied" for line in lines))
            left = await app.store.run("shop", "run-old")

    assert left is None
    [told] = [line for line in lines if line["event"] == "retention_applied"]
    assert {key: told[key] for key in ("level", "runs", "events", "firings", "signals")} == {
        "level": "info",
        "runs": 1,
        "events": 0,
        "firings": 0,
        "signals": 0,
    }


@pytest.mark.parametrize("minutes", [0, 5])
async def test_a_program_that_only_starts_runs_deletes_nothing(minutes: int) -> None:
    clock = ManualClock()

    with captured_log() as lines:
        async with opened(clock, is_daemon=False) as app:
            clock.advance(timedelta(minutes=minutes))
            await until(lambda: clock.next_due_s() is not None)
            left = await app.store.run("shop", "run-old")

    assert left is not None
    assert not any(line["event"].startswith("retention") for line in lines)
