"""Whether cost grows linearly, in memory: python -m benchmarks.growth.

Chains of 25, 100, 400 and 1,600 trivial steps: the time per step to define the steps, to compose the workflow, for its
first run (which also describes and hashes the graph) and for a later one; the best of several. Then 20,000 runs of ten
steps, one after the other, in one engine, which keeps the latest 10,000 that ended: the time per run, by thousand.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import svcs

from daemon import Ref, Step, step, workflow
from daemon.container import Services
from daemon.engine.memory import memory_engine
from daemon.workflow.port import Engine

LENGTHS = (25, 100, 400, 1600)
STEPS_A_FIGURE = 8_000
RUNS, BLOCK = 20_000, 1_000
_names = itertools.count()


def define(length: int) -> list[Step[int, int, int]]:
    """Return trivial steps."""

    def counting(name: str) -> Step[int, int, int]:
        @step(name)
        async def count(value: int) -> int:
            return value + 1

        return count

    return [counting(f"count-{index}") for index in range(length)]


def compose(steps: list[Step[int, int, int]]) -> Any:
    """Return a workflow that is a chain of these steps."""

    @workflow(f"chain-{next(_names)}")
    def chain(value: Ref[int]) -> Ref[int]:
        for each in steps:
            value = each(value)
        return value

    return chain


async def measure(container: svcs.Container, length: int) -> list[float]:
    """Return microseconds per step: to define, to compose, for the first run, for a later one."""
    best = [float("inf")] * 4
    for _ in range(max(3, STEPS_A_FIGURE // length)):
        moments = [time.perf_counter()]
        steps = define(length)
        moments.append(time.perf_counter())
        chain = compose(steps)
        moments.append(time.perf_counter())
        for _ in range(2):
            run = await chain(container).run(0)
            moments.append(time.perf_counter())
            if run.result != length:
                raise AssertionError(f"a chain of {length} steps gave {run.result}")
        took = [(after - before) * 1e6 / length for before, after in itertools.pairwise(moments)]
        best = list(map(min, best, took))
    return best


async def many(run: Callable[[], Awaitable[object]]) -> None:
    """Print the time per run, by thousand."""
    print(f"\n{RUNS:,} runs of ten steps in one engine, microseconds per run by thousand:")
    figures = []
    for _ in range(RUNS // BLOCK):
        started_s = time.perf_counter()
        for _ in range(BLOCK):
            await run()
        figures.append((time.perf_counter() - started_s) * 1e6 / BLOCK)
    for row in (figures[: len(figures) // 2], figures[len(figures) // 2 :]):
        print("  " + "".join(f"{figure:8.1f}" for figure in row))
    first, last = sorted(figures[1:6])[2], sorted(figures[-5:])[2]
    print(f"the median of the last five is {last / first:.2f} times that of the second to the sixth")


async def main() -> None:
    """Measure and print every figure."""
    services = Services()
    async with services, services.handler_container() as container:
        services.register_value(Engine, memory_engine(container))
        print(f"{'steps':>8}{'define':>12}{'compose':>12}{'first run':>12}{'later run':>12}   microseconds per step")
        found = []
        for length in LENGTHS:
            found.append(await measure(container, length))
            print(f"{length:8,}" + "".join(f"{figure:12.1f}" for figure in found[-1]))
        growth = [longest / shortest for shortest, longest in zip(found[0], found[-1], strict=True)]
        print(f"{'growth':>8}" + "".join(f"{figure:11.2f}x" for figure in growth) + "   1x is linear")
        ten = compose(define(10))
        await many(lambda: ten(container).run(0))


if __name__ == "__main__":
    asyncio.run(main())
