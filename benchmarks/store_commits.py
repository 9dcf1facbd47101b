"""How many commits and rows a second the store on SQLite confirms, by the number of writers that wait for theirs.

Run: python benchmarks/store_commits.py [--seconds 2] [--synchronous FULL] [--writers 1,16,64,256] [--in FOLDER]
Each writer starts a run, commits ten checkpoints one after the other, each fenced by the run's owner, ends the run, and
waits for each of these twelve before it goes on: so does the engine.
Beside it the same rows in transactions of a plain loop, one by one and fifty at a time: the disk's own limit.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from daemon.clock import new_id
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import FenceRun, InsertRun, Outcome, PutStep, UpdateRun, Write

OUTPUT = b'{"n": 1, "x": "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}'


def checkpoint(run_key: str, seq: int) -> StepRecord:
    """Make a row of about 200 bytes."""
    return StepRecord(
        run_key=run_key,
        name=f"step-{seq}",
        seq=seq,
        kind="step",
        state=StepState.COMPLETED,
        attempts=1,
        started_us=1_700_000_000_000_000,
        ended_us=1_700_000_000_000_100,
        output=OUTPUT,
    )


async def measured(path: Path, *, writers: int, seconds: float, synchronous: Any) -> str:
    """Let writers commit for some seconds, and return what came of it."""
    store = SqliteStore(path, synchronous=synchronous)
    await store.open()
    waits: list[float] = []

    async def confirmed(*writes: Write) -> None:
        before = time.perf_counter()
        outcome = await store.commit(*writes)
        waits.append(time.perf_counter() - before)
        assert outcome is Outcome.APPLIED

    async def write(until: float) -> None:
        while time.perf_counter() < until:
            run = started()
            await confirmed(InsertRun(run))
            for seq in range(1, 11):
                await confirmed(FenceRun(run.key, run.owner), PutStep(checkpoint(run.key, seq)))
            run.status = RunStatus.COMPLETED
            await confirmed(UpdateRun(run))

    transactions, cpu, start = store.transactions, time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(write(start + seconds))
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    transactions = store.transactions - transactions
    await store.aclose()
    waits.sort()
    return (
        f"{writers:>4} writers: {len(waits) / took:>9,.0f} commits/s in {transactions / took:>6,.0f} transactions/s "
        f"({transactions / len(waits):.3f} fsyncs a commit), {len(waits) / 12 / took:>6,.0f} runs/s, "
        f"{cpu / len(waits) * 1e6:>4.0f} µs CPU a commit, "
        f"p50 {waits[len(waits) // 2] * 1e3:.2f} ms, p99 {waits[len(waits) * 99 // 100] * 1e3:.2f} ms"
    )


def limit(path: Path, *, rows: int, seconds: float, synchronous: str) -> str:
    """Insert as many rows in each transaction, without anybody who waits."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE s(run TEXT, n INTEGER, state TEXT, out BLOB, at REAL, PRIMARY KEY (run, n))")
    done, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        connection.execute("BEGIN IMMEDIATE")
        batch = [(f"{number // 10:026d}", number % 10, "done", OUTPUT, 1.5) for number in range(done, done + rows)]
        connection.executemany("INSERT INTO s VALUES (?, ?, ?, ?, ?)", batch)
        connection.execute("COMMIT")
        done += rows
    connection.close()
    return f"plain loop, {rows:>2} rows a transaction: {done / took:>9,.0f} rows/s"


def started() -> RunRecord:
    """Make a run that has just begun."""
    now_us = time.time_ns() // 1_000
    key = new_id(now_us)
    return RunRecord(
        key=key,
        app="bench",
        run_id=f"bench:{key}",
        attempt=1,
        workflow="bench",
        status=RunStatus.RUNNING,
        trigger=b'{"kind":"call","name":"","id":""}',
        input=OUTPUT,
        graph_hash="0123456789abcdef",
        owner="bench",
        created_us=now_us,
        updated_us=now_us,
    )


def main() -> None:
    """Print a line for each number of writers."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--synchronous", choices=["FULL", "NORMAL"], default="FULL")
    arguments.add_argument("--writers", default="1,16,64,256")
    arguments.add_argument("--in", dest="folder", default=None, help="a folder on the disk to measure")
    chosen = arguments.parse_args()
    print(
        f"python benchmarks/store_commits.py --seconds {chosen.seconds:g} --synchronous {chosen.synchronous} "
        f"--writers {chosen.writers}"
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for rows in (1, 50):
            path = Path(folder) / f"limit-{rows}.db"
            print(limit(path, rows=rows, seconds=chosen.seconds, synchronous=chosen.synchronous))
        for writers in map(int, chosen.writers.split(",")):
            path = Path(folder) / f"{writers}.db"
            print(asyncio.run(measured(path, writers=writers, seconds=chosen.seconds, synchronous=chosen.synchronous)))


if __name__ == "__main__":
    main()
