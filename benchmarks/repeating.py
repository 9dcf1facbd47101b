"""What it takes to do something again and again, some at a time; for benchmarks and the peers beside them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Repeated:
    """What came of it.

    Attributes:
        count: How many times it was done.
        seconds: From the first start to the last end.
        cpu_s: Processor time of this process meanwhile.
        p50_ms: How long one of them took, in the median.
        p99_ms: How long one in a hundred took, or longer.
    """

    count: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of each, in microseconds."""
        return self.cpu_s / self.count * 1e6


async def repeated(run: Callable[[], Awaitable[object]], *, at_a_time: int, seconds: float) -> Repeated:
    """Do something for some seconds, `at_a_time` at a time; what has begun then is waited for."""
    waits: list[float] = []
    cpu_s, started_s = time.process_time(), time.perf_counter()

    async def worker() -> None:
        while (before_s := time.perf_counter()) - started_s < seconds:
            await run()
            waits.append(time.perf_counter() - before_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_a_time):
            group.create_task(worker())
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    waits.sort()
    return Repeated(len(waits), took_s, cpu_s, waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3)
