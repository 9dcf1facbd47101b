"""Handles the events of one queue with something else than sagad, for `benchmarks.events`.

Run: python -m benchmarks.events_peer PEER --url URL --queue NAME --events 10000 --prefetch 200 --result FILE
PEER is `bare` (aio-pika alone), `faststream`, `faststream-logged` (with the log that it comes with) or `floor`
(aio-pika, and by hand what a durable workflow of ten steps needs: twelve rows in SQLite, each committed before the
next, those of many events together). FILE gets what `Tally` measured. With `--paced 2000` so many more events come,
which say when they left.
"""

import argparse
import asyncio
import json
import os
import queue
import resource
import sqlite3
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import aio_pika
from pydantic import BaseModel

STEPS = 10
ROWS_MAX = 500
PACED = "paced"  # an order with this currency says when it left


class Item(BaseModel):
    """As the daemon's handler has it."""

    sku: str
    quantity: int


class Order(BaseModel):
    """As the daemon's handler has it."""

    order_id: str
    customer_id: str
    currency: str
    total: int
    items: list[Item]


class Tally:
    """Counts a peer's events, and writes what they took: seconds, processor seconds, the largest memory in MiB.

    What it is told of them in milliseconds, and of those that come at an even pace how old they were, comes second, in
    the order of their length.
    """

    def __init__(self, events: int, paced: int, result: Path) -> None:
        self._events = events
        self._paced = paced
        self._result = result
        self._seen = 0
        self._first_s = self._first_cpu_s = 0.0
        self._took: list[float] = []
        self._lasted_ms: list[float] = []
        self.done = asyncio.Event()

    def tick(self, order: Order, lasted_ms: float | None = None) -> None:
        """Count one."""
        self._seen += 1
        if lasted_ms is not None:
            self._lasted_ms.append(lasted_ms)
        elif order.currency == PACED:
            self._lasted_ms.append(time.monotonic() * 1_000 - order.total / 1_000)
        if self._seen == 1:
            self._first_s, self._first_cpu_s = time.monotonic(), _cpu_s()
        if self._seen == self._events:
            self._took = [time.monotonic() - self._first_s, _cpu_s() - self._first_cpu_s, _most_mib()]
        if self._seen in {self._events, self._events + self._paced}:
            partial = self._result.with_suffix(".partial")
            partial.write_text(json.dumps([self._took, sorted(self._lasted_ms)]))
            partial.replace(self._result)
        if self._seen == self._events + self._paced:
            self.done.set()


async def bare(url: str, queue_name: str, prefetch: int, tally: Tally) -> None:
    """Consume with aio-pika alone."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch)
    consumed = await channel.get_queue(queue_name)

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        order = Order.model_validate_json(message.body)
        await message.ack()
        tally.tick(order)

    await consumed.consume(handle)
    await tally.done.wait()
    await connection.close()


async def faststream(url: str, queue_name: str, prefetch: int, tally: Tally, *, logged: bool) -> None:
    """Consume with FastStream."""
    rabbit = import_module("faststream.rabbit")
    quiet: dict[str, Any] = {} if logged else {"logger": None}
    broker = rabbit.RabbitBroker(url, default_channel=rabbit.Channel(prefetch_count=prefetch), **quiet)

    @broker.subscriber(rabbit.RabbitQueue(queue_name, declare=False))  # type: ignore[untyped-decorator]
    async def handle(order: Order) -> None:
        tally.tick(order)

    await broker.start()
    await tally.done.wait()
    await broker.stop()


class Rows:
    """A thread that commits the rows of all who wait together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[list[tuple[Any, ...]], asyncio.Future[None]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._write, daemon=True).start()

    def put(self, *rows: tuple[Any, ...]) -> asyncio.Future[None]:
        """Return what is done once the rows are durable."""
        durable: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((list(rows), durable))
        return durable

    def _write(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        columns = "run_id TEXT, step INTEGER, status TEXT, output TEXT, at DOUBLE"
        database.execute(f"CREATE TABLE s ({columns}, PRIMARY KEY (run_id, step))")
        while True:
            batch = [self._queue.get()]
            while len(batch) < ROWS_MAX and not self._queue.empty():
                batch.append(self._queue.get())
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO s VALUES (?, ?, ?, ?, ?)", [row for rows, _ in batch for row in rows])
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, [durable for _, durable in batch])


def _tell(durable: list[asyncio.Future[None]]) -> None:
    for each in durable:
        each.set_result(None)


async def floor(url: str, queue_name: str, prefetch: int, tally: Tally, folder: Path) -> None:
    """Consume with aio-pika, and commit what a durable workflow would."""
    rows = Rows(folder / "floor.sqlite")
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch)
    consumed = await channel.get_queue(queue_name)

    async def step(value: dict[str, int]) -> dict[str, int]:
        return {"n": value["n"] + 1}

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        began_s = time.perf_counter()
        order = Order.model_validate_json(message.body)
        value = {"n": 0}
        await rows.put((order.order_id, -1, "started", "{}", began_s))
        for number in range(STEPS):
            value = await step(value)
            await rows.put((order.order_id, number, "done", json.dumps(value), began_s))
        await rows.put((order.order_id, 99, "completed", json.dumps(value), began_s))
        await message.ack()
        tally.tick(order, (time.perf_counter() - began_s) * 1_000)

    await consumed.consume(handle)
    await tally.done.wait()
    await connection.close()


async def consume(chosen: argparse.Namespace) -> None:
    """Have a peer handle the events."""
    tally = Tally(chosen.events, chosen.paced, chosen.result)
    of = chosen.url, chosen.queue, chosen.prefetch, tally
    if chosen.peer == "bare":
        await bare(*of)
    elif chosen.peer == "floor":
        await floor(*of, chosen.result.parent)
    else:
        await faststream(*of, logged=chosen.peer == "faststream-logged")


def _most_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # what `resource` says includes the process that this one was started from
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Consume."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("peer", choices=["bare", "faststream", "faststream-logged", "floor"])
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--queue", required=True)
    arguments.add_argument("--events", type=int, required=True)
    arguments.add_argument("--paced", type=int, default=0)
    arguments.add_argument("--prefetch", type=int, required=True)
    arguments.add_argument("--result", type=Path, required=True)
    asyncio.run(consume(arguments.parse_args()))
    os._exit(0)  # the thread of the rows does not end


if __name__ == "__main__":
    main()
