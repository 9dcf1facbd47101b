"""A daemon whose disk fails ends, and is started again by whoever watches over it."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from daemon import JobContext, job
from daemon.config import load_config
from daemon.discovery import Discovered
from daemon.engine.engine import WorkflowEngine
from daemon.errors import StoreUnavailableError
from daemon.serve import serve
from daemon.store.sqlite import SqliteStore


def fail(_: sqlite3.Connection) -> None:
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    raise failure


async def test_a_daemon_whose_disk_confirms_nothing_ends_with_an_error(tmp_path: Path) -> None:
    @job(schedule=timedelta(seconds=1))
    async def break_the_disk(context: JobContext) -> None:
        store = (await context.container.aget(WorkflowEngine))._ports.store
        assert isinstance(store, SqliteStore)
        await store._call(fail)

    path = tmp_path / "config.toml"
    path.write_text('[app]\nname = "shop"\n[http]\nenabled = false\n', encoding="utf-8")

    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailableError, match="could not confirm a write: disk I/O error"):
            await serve(path, load_config(path), Discovered(jobs=(break_the_disk,)))
