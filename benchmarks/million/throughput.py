"""How many runs go through an engine on the filled store, beside an empty one, and while old ones are deleted."""

import asyncio
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.million.application.workflows.orders import Order, place_order
from benchmarks.million.databases import APP, Databases
from benchmarks.million.engines import engine_on
from daemon.clock import SystemClock
from daemon.engine.retention import Retention

if TYPE_CHECKING:
    import svcs

AT_A_TIME = 50
GOAL = 0.9


@dataclass(frozen=True, slots=True)
class Round:
    """What some runs took."""

    runs: int
    seconds: float
    cpu_s: float
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        """Runs a second."""
        return self.runs / self.seconds

    def latency_ms(self, share: float) -> float:
        """Return the latency that this share of the runs did not exceed."""
        return sorted(self.latencies_s)[min(int(len(self.latencies_s) * share), len(self.latencies_s) - 1)] * 1_000


async def drive(container: "svcs.Container", runs: int, until: asyncio.Event | None = None) -> Round:
    """Run so many, fifty at a time, or until something has happened."""
    left, latencies_s = runs, []

    async def worker() -> None:
        nonlocal left
        while left > 0 and not (until is not None and until.is_set()):
            left -= 1
            began_s = time.perf_counter()
            # As long as those in the store: PostgreSQL puts shorter rows into what is left over in its old pages.
            await place_order(container).run(Order(id=f"A-{left:07}", customer=f"ada-{left:07}@example.com"))
            latencies_s.append(time.perf_counter() - began_s)

    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(worker())
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return Round(len(latencies_s), took_s, cpu_s, latencies_s)


async def compare(data: Databases, *, runs: int, rounds: int) -> bool:
    """Print the throughput of both stores in turn, and tell whether the filled one's is good enough."""
    print(f"\nTen-step runs, {AT_A_TIME} at a time, {runs:,} a round, in turn; runs a second (p50, p99 of one, ms):")
    await data.make_empty("empty")
    ratios, cpu_ratios = [], []
    async with engine_on(data, "empty") as (empty, *_), engine_on(data, "filled") as (filled, *_):
        for container in (empty, filled):
            await drive(container, runs // 4)
        for number in range(rounds):
            took = {}
            for name, container in (("empty", empty), ("filled", filled))[:: 1 if number % 2 else -1]:
                took[name] = await drive(container, runs)
            ratios.append(took["filled"].rate / took["empty"].rate)
            cpu_ratios.append(took["empty"].cpu_s / took["filled"].cpu_s)
            each = "   ".join(
                f"{name} {one.rate:7,.0f} ({one.latency_ms(0.5):5.1f}, {one.latency_ms(0.99):5.1f})"
                for name, one in sorted(took.items())
            )
            print(f"  {each}   x {ratios[-1]:.2f}", flush=True)
    median = statistics.median(ratios)
    print(
        f"  median x {median:.2f} of an empty store's, by processor time x {statistics.median(cpu_ratios):.2f}; ",
        end="",
    )
    print(f"goal >= {GOAL}")
    return median >= GOAL


async def prune(data: Databases, *, deleted: int) -> None:
    """Print how long runs take while so many old ones are deleted, and while none are."""
    ((before_us,),) = await data.rows("filled", f"SELECT ended_us FROM runs ORDER BY key LIMIT 1 OFFSET {deleted}")
    async with engine_on(data, "filled") as (container, engine, store):
        clock = SystemClock()
        keep = timedelta(microseconds=clock.now_us() - int(str(before_us)))
        retention = Retention(engine, store, clock, app=APP, keep=keep)
        await drive(container, 500)
        quiet = await drive(container, 3_000)
        over = asyncio.Event()
        driving = asyncio.create_task(drive(container, 1_000_000, over))
        started_s = time.perf_counter()
        counts = await retention.apply()
        took_s = time.perf_counter() - started_s
        over.set()
        busy = await driving
    print(f"\nRetention deletes {counts['runs']:,} runs with their checkpoints in {took_s:.1f} s while runs go on:")
    for what, one in (("nothing is deleted", quiet), ("runs are deleted", busy)):
        shares = ", ".join(f"{name} {one.latency_ms(share):.1f}" for name, share in _SHARES)
        print(f"  while {what:20}{one.rate:7,.0f} runs/s, ms of one: {shares}")


_SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0))
