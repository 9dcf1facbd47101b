"""Daemons and peers that handle events from RabbitMQ, each in a process of its own, for `benchmarks.events`."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pika

from benchmarks.events_peer import PACED
from tests.acceptance.application import Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import until

WITHIN_S = 600.0
AHEAD = 500  # how many may be unconfirmed
PACE_S = 0.001  # between two of the events that come at an even pace
BENCH = Path(__file__).parent.parent / ".bench"
# The handler is ours, and uses what the peers use.
_ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(BENCH.parent), os.environ.get("PYTHONPATH", "")])}
Found = tuple[list[float], list[float]]  # seconds, processor seconds, MiB; how many milliseconds single ones took

HANDLER = '''"""Handles orders; the last one writes how long they took."""

from pathlib import Path

from benchmarks.events_peer import Item, Order, Tally
from daemon import Event, Ref, SubscriberContext, step, subscriber, workflow


class OrderPlaced(Event, name="order.placed"):
    order_id: str
    customer_id: str
    currency: str
    total: int
    items: list[Item]


def counting(at: int):
    @step(f"add-{at}")
    async def add_one(value: int) -> int:
        return value + 1

    return add_one


STEPS = [counting(at) for at in range({steps})]


@workflow("count")
def count(value: Ref[int]) -> Ref[int]:
    for each in STEPS:
        value = each(value)
    return value


tallies: list[Tally] = []


@subscriber(OrderPlaced, id="{name}", concurrency={prefetch})
async def handle(event: OrderPlaced, ctx: SubscriberContext) -> None:
    if not tallies:
        tallies.append(Tally(ctx.options["events"], ctx.options["paced"], Path(ctx.options["result"])))
{body}
    tallies[0].tick(event)
'''
_BODY = "    await count(ctx.container).run(0)"


def order(number: int, currency: str = "eur", total: int = 12345) -> bytes:
    """Return an event of about 300 bytes."""
    items = [{"sku": f"SKU-{place:06d}", "quantity": place} for place in range(1, 5)]
    ids = {"order_id": f"ord_{number:026d}", "customer_id": f"cus_{number % 977:026d}"}
    return json.dumps({**ids, "currency": currency, "total": total, "items": items}).encode()


async def load(url: str, exchange_name: str, key: str, events: int, *, first: int = 0, paced: bool = False) -> None:
    """Publish the events from number `first` on as another program does, and return once they are confirmed.

    At an even pace they say when they left, in microseconds of the monotonic clock.
    """
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.get_exchange(exchange_name) if exchange_name else channel.default_exchange

    async def publish(number: int) -> None:
        body = order(number, "eur" if not paced else PACED, time.monotonic_ns() // 1_000)
        event_id = f"{key}-{'paced-' if paced else ''}{number}"
        mode = aio_pika.DeliveryMode.PERSISTENT
        await exchange.publish(aio_pika.Message(body, message_id=event_id, delivery_mode=mode), key)

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        sent: list[asyncio.Task[None]] = []
        for number in range(first, events):
            if paced:
                await asyncio.sleep(max(0.0, began_s + number * PACE_S - time.monotonic()))
            elif len(sent) >= AHEAD:
                await sent[-AHEAD]
            sent.append(group.create_task(publish(number)))
    await connection.close()


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Have the processes that are started in the block run on one core; 0 is the first one, -1 the last one."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(_CORES)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def read(result: Path) -> Found:
    """Return what a tally wrote."""
    took, lasted_ms = json.loads(result.read_text())
    return took, lasted_ms


class Ours:
    """The daemon's side of a case.

    Args:
        name: The case; names the subscriber.
        steps: Of the workflow that each event starts; 0: none.
        level: Of the log.
        prefetch: How many events are unsettled at one time.
    """

    def __init__(self, name: str, *, steps: int = 0, level: str = "warning", prefetch: int = 200) -> None:
        self.title = f"sagad, log at {level}"
        self._name = name
        self._steps = steps
        self._level = level
        self._prefetch = prefetch

    def measure(self, url: str, events: int, paced: int) -> Found:
        """Have a daemon handle the events."""
        BENCH.mkdir(exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=BENCH) as folder,
            self.application(url, Path(folder), events, paced) as app,
        ):
            application, broker = app
            asyncio.run(load(url, broker.exchange, "order.placed", events))
            with self.running(application) as (_, result):
                until(result.exists, f"{events} events", timeout_s=WITHIN_S)
                if paced:
                    result.unlink()
                    asyncio.run(load(url, broker.exchange, "order.placed", paced, paced=True))
                    until(result.exists, f"{paced} events", timeout_s=WITHIN_S)
            took, lasted_ms = read(result)
            return took, lasted_ms or handled_ms(application.folder / "log.json")

    @contextmanager
    def application(self, url: str, folder: Path, events: int, paced: int) -> Iterator[tuple[Application, Broker]]:
        """Give an application whose queue is there."""
        broker = Broker(url)
        settings: dict[str, Any] = {
            **broker.settings,
            "broker.prefetch": self._prefetch,
            "log.level": self._level,
            f"options.{self._name}.events": events,
            f"options.{self._name}.paced": paced,
            f"options.{self._name}.result": str(folder / "result.json"),
        }
        application = Application(folder / "app", settings, parts=())
        source = HANDLER.replace("{name}", self._name).replace("{prefetch}", str(self._prefetch))
        source = source.replace("{steps}", str(self._steps or 1)).replace("{body}", _BODY if self._steps else "")
        application.add("subscribers/handle.py", source)
        try:
            with application.daemon(
                PYTHONPATH=_ENVIRONMENT["PYTHONPATH"], SAGAD_LOG__LEVEL="info"
            ):  # declares the queue
                pass
            yield application, broker
        finally:
            broker.clean([self._name])

    @contextmanager
    def running(self, application: Application) -> Iterator[tuple[int, Path]]:
        """Run the daemon, with its log in a file, and give its process's id, and the file for the result."""
        log_path = application.folder / "log.json"
        with log_path.open("wb") as log, on_core(-1):
            process = subprocess.Popen(
                application.command("run"),
                cwd=application.folder,
                stdout=log,
                env={**os.environ, **_ENVIRONMENT},
            )
        try:
            yield process.pid, Path(str(application.settings[f"options.{self._name}.result"]))
        finally:
            process.terminate()
            process.wait()


def handled_ms(log: Path) -> list[float]:
    """Return how long each event took from its delivery to its acknowledgement, as the log says."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sorted(line["duration_ms"] for line in lines if line["event"] == "event_handled")


class Peer:
    """A peer's side of a case, in a process of its own."""

    def __init__(self, name: str, title: str, *, python: str = sys.executable, prefetch: int = 200) -> None:
        self.title = title
        self._name = name
        self._python = python
        self._prefetch = prefetch

    def measure(self, url: str, events: int, paced: int) -> Found:
        """Have it handle the events."""
        queue = f"bench-{os.getpid()}-{time.time_ns()}"
        parameters = pika.URLParameters(url)
        with pika.BlockingConnection(parameters) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        BENCH.mkdir(exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=BENCH) as folder:
                asyncio.run(load(url, "", queue, events))
                result = Path(folder) / "result.json"
                options: dict[str, Any] = {"url": url, "queue": queue, "events": events, "paced": paced}
                options |= {"prefetch": self._prefetch, "result": result}
                given = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
                command = [self._python, "-m", "benchmarks.events_peer", self._name, *given]
                with (Path(folder) / "log").open("wb") as log, on_core(-1):
                    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=BENCH.parent)
                with process:
                    until(result.exists, f"{events} events", timeout_s=WITHIN_S)
                    if paced:
                        result.unlink()
                        asyncio.run(load(url, "", queue, paced, paced=True))
                return read(result)
        finally:
            with pika.BlockingConnection(parameters) as connection:
                connection.channel().queue_delete(queue)
