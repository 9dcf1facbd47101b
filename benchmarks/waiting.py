"""What runs cost that wait for a timer: memory and tasks of each, and the time to start and to wake them all.

Run: python -m benchmarks.waiting [--runs 10000] [--store memory|sqlite] [--clock manual|system]
Every run does a trivial step, sleeps for a day and does another one; a hundred are started at a time. Without --store
each of both has its turn, in a process of its own, on a clock that is moved by hand and on the machine's, whose day is
not waited for. Memory is what becomes resident while they start, by the run: in memory that includes the store, which
keeps every run and its checkpoints; on SQLite it is what the engine holds.
"""

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from daemon import Ref, sleep, step, workflow
from daemon.clock import Clock, ManualClock, SystemClock
from daemon.container import Services
from daemon.engine.engine import WorkflowEngine
from daemon.engine.ports import Ports
from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.sqlite import SqliteStore
from daemon.workflow.port import Engine

if TYPE_CHECKING:
    import svcs

AT_A_TIME = 100
WARM_UP = 200
A_DAY = timedelta(days=1)
woken = 0


@step("before-the-night")
async def before(value: int) -> int:
    """Do nothing much."""
    return value + 1


@step("after-the-night")
async def after(value: int) -> int:
    """Count."""
    global woken  # noqa: PLW0603 - one figure of one process
    woken += 1
    return value


@workflow("night")
def night(value: Ref[int]) -> Ref[int]:
    """Wait for a day between two steps."""
    evening = before(value)
    sleep(A_DAY)
    return after(evening)


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Store]:
    """Give a store of that name."""
    if name == "memory":
        yield MemoryStore()
        return
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "runs.db")
        await store.open()
        try:
            yield store
        finally:
            await store.aclose()


def engine_on(store: Store, clock: Clock) -> "tuple[svcs.Container, WorkflowEngine]":
    """Return an engine, and a container that leads to it."""
    services = Services()
    ports = Ports(store, clock, "waiting", "waiting", 1 << 20, 30.0)
    engine = WorkflowEngine(ports, containers=services.handler_container)
    services.register_value(Engine, engine)
    return services.handler_container(), engine


async def start(container: "svcs.Container", count: int) -> float:
    """Start so many runs and return how long that took, in seconds."""
    started_s, left = time.perf_counter(), count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await night(container).run(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(worker())
    return time.perf_counter() - started_s


async def wake(clock: ManualClock, engine: WorkflowEngine, count: int) -> float:
    """Let the night pass and return how long it took until all had ended, in seconds."""
    global woken  # noqa: PLW0603 - as above
    woken = 0
    started_s = time.perf_counter()
    clock.advance(A_DAY)
    while woken < count or engine.running:  # noqa: ASYNC110 - nothing tells when the last one has ended
        await asyncio.sleep(0.001)
    return time.perf_counter() - started_s


def resident() -> int:
    """Return what is resident of this process, in bytes."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def measure(name: str, kind: str, count: int) -> None:
    """Print the figures of one store and clock."""
    manual = ManualClock()
    clock: Clock = manual if kind == "manual" else SystemClock()
    async with opened(name) as store:
        container, engine = engine_on(store, clock)
        await start(container, WARM_UP)
        if clock is manual:
            await wake(manual, engine, WARM_UP)
        before_bytes, tasks = resident(), len(asyncio.all_tasks())
        started_s = await start(container, count)
        held_bytes, waiting = resident() - before_bytes, len(asyncio.all_tasks()) - tasks
        woken_s = await wake(manual, engine, count) if clock is manual else None
        await engine.drain(0)
    night_s = f"{woken_s:10.2f} s" if woken_s is not None else ""
    print(
        f"{name:10}{kind:10}{held_bytes / count:10,.0f} B{waiting / count:12.3f}{started_s:10.2f} s{night_s}",
        flush=True,
    )


def main() -> None:
    """Measure one store on one clock, or everything, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--store", choices=("memory", "sqlite"))
    parser.add_argument("--clock", choices=("manual", "system"), default="manual")
    arguments = parser.parse_args()
    if arguments.store is not None:
        asyncio.run(measure(arguments.store, arguments.clock, arguments.runs))
        return
    print(f"{arguments.runs:,} runs")
    print(f"{'store':10}{'clock':10}{'memory/run':>12}{'tasks/run':>12}{'to start':>12}{'to wake':>12}", flush=True)
    for store in ("memory", "sqlite"):
        for clock in ("manual", "system"):
            arguments_of_one = ["--runs", str(arguments.runs), "--store", store, "--clock", clock]
            subprocess.run([sys.executable, "-m", "benchmarks.waiting", *arguments_of_one], check=True)


if __name__ == "__main__":
    main()
