"""What a run costs in memory, one process on one core: `python benchmarks/in_memory.py [seconds per figure]`.

Four workflows (ten steps in a chain, ten of which the last fails and nine are undone, ten at the same time, and the
two-step hello world), each with an int and with a small pydantic model as payload, one run after the other and a
hundred at a time. Prints runs a second and microseconds a step; the best of three rounds. The garbage collector is set
as the daemon sets it.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic import BaseModel

from daemon import Ref, Step, parallelize, step, transform, workflow
from daemon.collector import Collector
from daemon.container import Services
from daemon.engine.memory import memory_engine
from daemon.workflow.port import Engine

CONCURRENT = 100
ROUNDS = 3


Case = tuple[Any, Any]  # a workflow, and what it is given


class Order(BaseModel):
    """A small payload."""

    id: str
    quantity: int
    note: str = ""


def on_numbers() -> list[Case]:  # noqa: C901 - short functions
    """Return the workflows whose payload is a plain value."""

    def counting(name: str) -> Step[int, int, int]:
        @step(name)
        async def count(value: int) -> int:
            return value + 1

        @count.compensate
        async def uncount(value: int) -> None:
            """There is nothing to undo."""

        return count

    @step("break-number")
    async def broken(value: int) -> int:
        raise ValueError(value)

    @step("say-hello")
    async def say_hello() -> str:
        return "hello"

    @step("say-name")
    async def say_name(name: str) -> str:
        return name

    steps = [counting(f"count-{index}") for index in range(10)]

    @workflow("chain-of-numbers")
    def chain(value: Ref[int]) -> Ref[int]:
        for each in steps:
            value = each(value)
        return value

    @workflow("failing-numbers")
    def failing(value: Ref[int]) -> Ref[int]:
        for each in steps[:9]:
            value = each(value)
        return broken(value)

    @workflow("parallel-numbers")
    def parallel(value: Ref[int]) -> Ref[int]:
        return parallelize(*[each(value) for each in steps])[-1]

    @workflow("hello-name")
    def hello(name: Ref[str]) -> Ref[str]:
        return transform(say_hello(), say_name(name), lambda greeting, who: f"{greeting}, {who}")

    return [(chain, 1), (failing, 1), (parallel, 1), (hello, "Ada")]


def on_models() -> list[Case]:  # noqa: C901 - short functions
    """Return the workflows whose payload is a small model."""

    def changing(name: str) -> Step[Order, Order, Order]:
        @step(name)
        async def change(order: Order) -> Order:
            return Order(id=order.id, quantity=order.quantity + 1, note=order.note)

        @change.compensate
        async def unchange(order: Order) -> None:
            """There is nothing to undo."""

        return change

    @step("break-order")
    async def broken(order: Order) -> Order:
        raise ValueError(order.id)

    @step("say-hello")
    async def say_hello() -> str:
        return "hello"

    @step("say-order")
    async def say_order(order: Order) -> Order:
        return order

    steps = [changing(f"change-{index}") for index in range(10)]

    @workflow("chain-of-orders")
    def chain(order: Ref[Order]) -> Ref[Order]:
        for each in steps:
            order = each(order)
        return order

    @workflow("failing-orders")
    def failing(order: Ref[Order]) -> Ref[Order]:
        for each in steps[:9]:
            order = each(order)
        return broken(order)

    @workflow("parallel-orders")
    def parallel(order: Ref[Order]) -> Ref[Order]:
        return parallelize(*[each(order) for each in steps])[-1]

    @workflow("hello-order")
    def hello(order: Ref[Order]) -> Ref[Order]:
        return transform(
            say_hello(), say_order(order), lambda greeting, o: Order(id=o.id, quantity=o.quantity, note=greeting)
        )

    order = Order(id="o1", quantity=1)
    return [(chain, order), (failing, order), (parallel, order), (hello, order)]


CASES = [
    ("ten steps in a chain", 10),
    ("ten steps, the last fails", 10),
    ("ten steps at the same time", 10),
    ("two-step hello world", 2),
]


async def sequential(run: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Return runs a second, one after the other."""
    started_s, count = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        for _ in range(20):
            await run()
        count += 20
    return count / elapsed_s


async def concurrent(run: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Return runs a second, a hundred at a time."""
    started_s, count = time.perf_counter(), 0

    async def worker() -> None:
        nonlocal count
        while time.perf_counter() - started_s < seconds:
            await run()
            count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(worker())
    return count / (time.perf_counter() - started_s)


async def main(seconds: float) -> None:
    """Measure and print every figure."""
    services = Services()
    async with services, services.handler_container() as container:
        services.register_value(Engine, memory_engine(container))
        await Collector().start()
        print(f"{'':28}{'payload':8}{'one by one':>12}{'us/step':>9}{f'{CONCURRENT} at a time':>16}{'us/step':>9}")
        for (title, steps), plain, model in zip(CASES, on_numbers(), on_models(), strict=True):
            for kind, (flow, value) in (("plain", plain), ("model", model)):
                run = partial(flow(container).run, value, raise_on_error=False)
                await sequential(run, 0.2)
                alone = max([await sequential(run, seconds) for _ in range(ROUNDS)])
                together = max([await concurrent(run, seconds) for _ in range(ROUNDS)])
                print(
                    f"{title:28}{kind:8}{alone:10,.0f}/s{1e6 / alone / steps:9.1f}"
                    f"{together:14,.0f}/s{1e6 / together / steps:9.1f}"
                )


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
