"""How many events a second go from RabbitMQ through a handler, and through a one-step workflow on SQLite.

Run: python -m benchmarks.events [--events 10000] [--prefetch 200] [--repeat 3] [--only bare,trivial]
On the broker of SAGAD_TEST_AMQP_URL, or on a private one. The events (300 bytes of JSON, persistent, on a quorum queue)
are there before the daemon starts; the rate and the processor time are taken between the first and the last one that
was handled. Once with the log at warning, once at info, where every event and every run is a line in a file.
Beside it, decoding the same model from the same kind of queue and acknowledging: a bare aio-pika loop, which is the
floor, and FastStream without its log, if that is installed.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aio_pika
import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.acceptance.application import Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import until
from tests.services import private_rabbit

CASES = ("bare", "faststream", "trivial", "workflow")
WITHIN_S = 300.0

_HANDLER = '''"""Counts orders; the last one writes how long they took."""

import json
import os
import resource
import time
from pathlib import Path

from pydantic import BaseModel

from daemon import Event, Ref, SubscriberContext, step, subscriber, workflow


class Item(BaseModel):
    sku: str
    quantity: int


class OrderPlaced(Event, name="order.placed"):
    order_id: str
    customer_id: str
    currency: str
    total: int
    items: list[Item]


class Meter:
    seen = 0
    first_s = first_cpu_s = 0.0

    @classmethod
    def tick(cls, options):
        usage = resource.getrusage(resource.RUSAGE_SELF) if cls.seen in (0, options["events"] - 1) else None
        cls.seen += 1
        if cls.seen == 1:
            cls.first_s, cls.first_cpu_s = time.monotonic(), usage.ru_utime + usage.ru_stime
        elif cls.seen == options["events"]:
            took = [time.monotonic() - cls.first_s, usage.ru_utime + usage.ru_stime - cls.first_cpu_s]
            partial = Path(options["result"] + ".partial")
            partial.write_text(json.dumps([*took, usage.ru_maxrss / 1024]))
            os.replace(partial, options["result"])


@step("keep")
async def keep(order_id: str) -> str:
    return order_id


@workflow("keep-order")
def keep_order(order_id: Ref[str]) -> Ref[str]:
    return keep(order_id)


@subscriber(OrderPlaced, id="{name}")
async def handle(event: OrderPlaced, ctx: SubscriberContext) -> None:
{body}
    Meter.tick(ctx.options)
'''
_BODIES = {"trivial": "", "workflow": "    await keep_order(ctx.container).run(event.order_id)"}


def order(number: int) -> bytes:
    """Return an event of about 300 bytes."""
    items = [{"sku": f"SKU-{place:06d}", "quantity": place} for place in range(1, 5)]
    ids = {"order_id": f"ord_{number:026d}", "customer_id": f"cus_{number % 977:026d}"}
    return json.dumps({**ids, "currency": "eur", "total": 12345 + number, "items": items}).encode()


async def load(url: str, exchange_name: str, key: str, events: int) -> None:
    """Publish the events as another program does, and return once the broker has confirmed all of them."""
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.get_exchange(exchange_name) if exchange_name else channel.default_exchange

    async def publish(number: int) -> None:
        body, mode = order(number), aio_pika.DeliveryMode.PERSISTENT
        message = aio_pika.Message(body, message_id=f"{key}-{number}", delivery_mode=mode)
        await exchange.publish(message, key)

    for first in range(0, events, 500):
        async with asyncio.TaskGroup() as group:
            for number in range(first, min(first + 500, events)):
                group.create_task(publish(number))
    await connection.close()


def daemon_case(url: str, case: str, level: str, events: int, prefetch: int) -> list[float]:
    """Have a daemon handle the events; return seconds, processor seconds and the largest memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        broker, result = Broker(url), Path(folder) / "result.json"
        settings = {
            **broker.settings,
            "broker.prefetch": prefetch,
            "log.level": level,
            f"subscribers.{case}.concurrency": prefetch,
            f"options.{case}.events": events,
            f"options.{case}.result": str(result),
        }
        application = Application(Path(folder) / "app", settings, parts=())
        application.add("subscribers/handle.py", _HANDLER.replace("{name}", case).replace("{body}", _BODIES[case]))
        try:
            with application.daemon(SAGAD_LOG__LEVEL="info"):  # declares the queue
                pass
            asyncio.run(load(url, broker.exchange, "order.placed", events))
            with (Path(folder) / "log.json").open("wb") as log:
                process = subprocess.Popen(application.command("run"), cwd=application.folder, stdout=log)
                try:
                    until(result.exists, f"{events} events", timeout_s=WITHIN_S)
                finally:
                    process.terminate()
                    process.wait()
        finally:
            broker.clean([case])
        return [float(each) for each in json.loads(result.read_text())]


def peer_case(peer: str, url: str, events: int, prefetch: int) -> list[float]:
    """Measure a peer in a process of its own."""
    queue = f"bench-{os.getpid()}-{time.time_ns()}"
    with _channel(url) as channel:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    try:
        asyncio.run(load(url, "", queue, events))
        command = [sys.executable, "-m", "benchmarks.events_peer", peer, "--url", url, "--queue", queue]
        options = ["--events", str(events), "--prefetch", str(prefetch)]
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True, timeout=WITHIN_S)
    finally:
        with _channel(url) as channel:
            channel.queue_delete(queue)
    return [float(each) for each in json.loads(done.stdout)]


@contextmanager
def _channel(url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def report(what: str, found: list[list[float]], events: int) -> None:
    """Print a case's line: medians over its repetitions."""
    rates = sorted((events - 1) / took for took, _, _ in found)
    cpu_us = statistics.median(cpu / (events - 1) for _, cpu, _ in found) * 1e6
    spread = f"{rates[0]:,.0f}-{rates[-1]:,.0f}"
    memory = max(each for _, _, each in found)
    print(f"{what:<28} {statistics.median(rates):>7,.0f} events/s ({spread}), {cpu_us:>5.0f} µs CPU, {memory:.0f} MiB")


@contextmanager
def broker_url() -> Iterator[str]:
    """Give the address of a RabbitMQ."""
    if url := os.environ.get("SAGAD_TEST_AMQP_URL"):
        yield url
    else:
        with private_rabbit() as node:
            yield node.url


def main() -> None:
    """Print a line for each case."""
    arguments: Any = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=10_000)
    arguments.add_argument("--prefetch", type=int, default=200)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--only", default=",".join(CASES))
    chosen = arguments.parse_args()
    events, prefetch = chosen.events, chosen.prefetch
    print(
        f"python -m benchmarks.events --events {events} --prefetch {prefetch} --repeat {chosen.repeat} "
        f"--only {chosen.only}"
    )
    with broker_url() as url:
        for case in chosen.only.split(","):
            if case == "faststream" and find_spec(case) is None:
                print("faststream                   is not installed")
            elif case in {"bare", "faststream"}:
                found = [peer_case(case, url, events, prefetch) for _ in range(chosen.repeat)]
                report(case, found, events)
            else:
                for level in ("warning", "info"):
                    found = [daemon_case(url, case, level, events, prefetch) for _ in range(chosen.repeat)]
                    report(f"{case}, log at {level}", found, events)


if __name__ == "__main__":
    main()
