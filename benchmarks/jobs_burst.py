"""A thousand jobs due in the same second, on SQLite; ten thousand loaded, and what they cost while none is due.

Run: python -m benchmarks.jobs_burst [--jobs 1000] [--rounds 3] [--loaded 10000] [--idle 60] [--only burst,loaded,idle]
How late each handler begins, from its nominal second to its first line; ours with the claim on disk before that. And
the processor time until the last of them has begun, which says more on a busy machine. Beside it APScheduler alone,
with its jobs in memory, and a bare heap in an event loop, which starts a task each. Each is a process of its own, and
they take turns. `loaded` is from the first decorator to a scheduler that has started, on an empty store and on one
that knows the jobs; `idle` is the processor time of all that, with none of the jobs due.
"""

import argparse
import asyncio
import heapq
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from daemon.clock import SystemClock
from daemon.config import LogConfig
from daemon.container import Services
from daemon.log import configure_logging
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job, job
from daemon.schedule.scheduler import Scheduler
from daemon.store.sqlite import SqliteStore
from tests.soak.recovery import percentile

APP, OWNER = "burst", "process-1"
BURST_GOAL_MS, LOADED_GOAL_S, IDLE_GOAL_PERCENT = 60, 1.0, 0.1
_LEAD = timedelta(seconds=3)  # between the start and the second that all are due
_BEFORE = timedelta(milliseconds=200)  # by then everything is set up
_WITHIN_S = 30.0

Began = Callable[[], object]


@asynccontextmanager
async def scheduler_of(jobs: list[Job[Any]], folder: Path) -> AsyncIterator[Scheduler]:
    """Give our scheduler, started, on a store in a folder."""
    store = SqliteStore(folder / "burst.db")
    await store.open()
    await store.register(APP, OWNER, lease_s=600)
    around = Surroundings(
        app=APP,
        owner=OWNER,
        store=store,
        clock=SystemClock(),
        container=Services().handler_container,
        options=lambda _: {},
        on_staged=lambda: None,
    )
    scheduler = Scheduler(jobs, around)
    try:
        await scheduler.start()
        yield scheduler
    finally:
        await scheduler.drain(5)
        await scheduler.aclose()
        await store.aclose()


def made(name: str, schedule: str, began: Began) -> Job[Any]:
    """Return a job that says when it begins."""

    @job(schedule, name=name)
    async def handler() -> None:
        began()

    return handler


def cron_of(moment: datetime) -> str:
    """Return an expression that is due at a second of every day."""
    return f"{moment.second} {moment.minute} {moment.hour} * * *"


# --- a burst ---


async def ours(count: int, due: datetime, began: Began, over: asyncio.Event) -> None:
    """Fire them with our scheduler."""
    jobs = [made(f"job-{number}", cron_of(due), began) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        async with scheduler_of(jobs, Path(folder)):
            await over.wait()


async def apscheduler(count: int, due: datetime, began: Began, over: asyncio.Event) -> None:
    """Fire them with APScheduler, which keeps them in memory."""

    async def handler() -> None:
        began()

    trigger = import_module("apscheduler.triggers.cron").CronTrigger
    scheduler = import_module("apscheduler.schedulers.asyncio").AsyncIOScheduler(timezone=UTC)
    fields = {"second": due.second, "minute": due.minute, "hour": due.hour}
    for number in range(count):
        scheduler.add_job(handler, trigger(**fields, timezone=UTC), id=f"job-{number}", misfire_grace_time=None)
    scheduler.start()
    await over.wait()
    scheduler.shutdown(wait=False)


async def heap(count: int, due: datetime, began: Began, over: asyncio.Event) -> None:
    """Start a task for each at its time, and do nothing else."""

    async def handler() -> None:
        began()

    entries = [(due, number) for number in range(count)]
    heapq.heapify(entries)
    await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    async with asyncio.TaskGroup() as group:
        while entries:
            heapq.heappop(entries)
            group.create_task(handler())
    await over.wait()


CONTENDERS = {"sagad": ours, "APScheduler alone": apscheduler, "a bare heap": heap}


async def burst(name: str, count: int) -> tuple[list[float], float]:
    """Return how late each of so many jobs began, and the processor time of all that, in milliseconds."""
    due = (datetime.now(UTC) + _LEAD).replace(microsecond=0)
    late_ms: list[float] = []
    cpu_s: list[float] = []
    over = asyncio.Event()

    def began() -> None:
        late_ms.append((datetime.now(UTC) - due).total_seconds() * 1_000)
        if len(late_ms) == count:
            cpu_s.append(time.process_time())
            over.set()

    before_s = (due - datetime.now(UTC) - _BEFORE).total_seconds()
    asyncio.get_running_loop().call_later(before_s, lambda: cpu_s.append(time.process_time()))
    async with asyncio.timeout(_WITHIN_S):
        await CONTENDERS[name](count, due, began, over)
    return late_ms, (cpu_s[1] - cpu_s[0]) * 1_000


# --- many jobs ---


async def loaded(count: int, idle_s: float) -> dict[str, float]:
    """Return how long it takes to have so many jobs, in seconds, and what they cost then, as a share of one core."""
    found: dict[str, float] = {}
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        for what in ("first_s", "again_s"):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            # All over the day, but for the two hours that follow.
            moments = (now + timedelta(hours=2, seconds=number * 79_000 / count) for number in range(count))
            jobs = [made(f"job-{number}", cron_of(moment), int) for number, moment in enumerate(moments)]
            found[f"decorated_{what}"] = time.perf_counter() - began_s
            async with scheduler_of(jobs, Path(folder)):
                found[what] = time.perf_counter() - began_s
                found[f"cpu_{what}"] = time.process_time() - began_cpu_s
                if idle_s and what == "again_s":
                    await asyncio.sleep(1)  # what a start leaves behind is over
                    cpu_s, before_s = time.process_time(), time.perf_counter()
                    await asyncio.sleep(idle_s)
                    found["idle_percent"] = (time.process_time() - cpu_s) / (time.perf_counter() - before_s) * 100
    return found


# --- all of it ---


def main() -> int:
    """Measure, print, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loaded", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--only", default="burst,loaded,idle")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # one measurement, for the process that asks
    chosen = parser.parse_args()
    if chosen.alone:
        configure_logging(LogConfig(level="info"), Path("/dev/null").open("w"), app=APP)  # noqa: SIM115 - to the end
        work: Any = loaded(chosen.loaded, chosen.idle) if chosen.alone == "loaded" else burst(chosen.alone, chosen.jobs)
        print(json.dumps(asyncio.run(work)))
        return 0
    print(
        f"python -m benchmarks.jobs_burst --jobs {chosen.jobs} --rounds {chosen.rounds} --loaded {chosen.loaded} "
        f"--idle {chosen.idle:g} --only {chosen.only}",
        flush=True,
    )
    only = chosen.only.split(",")
    is_well = True
    if "burst" in only:
        is_well &= _burst(chosen.jobs, chosen.rounds)
    if "loaded" in only or "idle" in only:
        is_well &= _loaded(chosen.loaded, chosen.rounds, chosen.idle if "idle" in only else 0)
    return int(not is_well)


def _alone(what: str, **options: float) -> Any:
    """Measure one thing in a process of its own."""
    words = [word for name, value in options.items() for word in (f"--{name}", f"{value:g}")]
    command = [sys.executable, "-m", "benchmarks.jobs_burst", "--alone", what, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout)


def _burst(count: int, rounds: int) -> bool:
    shares = (0.5, 0.99, 1.0)
    found: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            late_ms, cpu_ms = _alone(name, jobs=count)
            found[name].append([*(percentile(late_ms, share) for share in shares), cpu_ms])
    print(f"{count:,} jobs in one second: late by, in ms, the median of {rounds} rounds (and the best)")
    print(f"{'':<20} {'p50':>16} {'p99':>16} {'most':>16} {'processor':>16}")
    for name, each in found.items():
        columns = [f"{statistics.median(column):.1f} ({min(column):.1f})" for column in zip(*each, strict=True)]
        print(f"{name:<20} {' '.join(f'{column:>16}' for column in columns)}", flush=True)
    p99_ms = statistics.median(each[1] for each in found["sagad"])
    print(f"goal: p99 < {BURST_GOAL_MS} ms")
    return p99_ms < BURST_GOAL_MS


def _loaded(count: int, rounds: int, idle_s: float) -> bool:
    found = [_alone("loaded", loaded=count, idle=idle_s if number == 0 else 0) for number in range(rounds)]
    print(f"{count:,} jobs, in s, the median of {rounds} rounds (and the best); goal < {LOADED_GOAL_S:g}")
    for what, title in (("first_s", "on an empty store"), ("again_s", "on one that knows them")):
        whole, cpu_s = [each[what] for each in found], [each[f"cpu_{what}"] for each in found]
        decorated = statistics.median(each[f"decorated_{what}"] for each in found)
        print(
            f"{title:<24} {statistics.median(whole):.2f} ({min(whole):.2f}), of which decorating {decorated:.2f}; "
            f"processor time {statistics.median(cpu_s):.2f} ({min(cpu_s):.2f})",
            flush=True,
        )
    is_well = all(statistics.median(each[what] for each in found) < LOADED_GOAL_S for what in ("first_s", "again_s"))
    if idle_s:
        percent = found[0]["idle_percent"]
        print(f"idle for {idle_s:g} s: {percent:.3f} % of one core; goal < {IDLE_GOAL_PERCENT:g}")
        is_well &= percent < IDLE_GOAL_PERCENT
    return is_well


if __name__ == "__main__":
    sys.exit(main())
