"""What a thousand subscribers in one daemon on RabbitMQ cost, against ten: time to ready, memory each, events a second.

Run: python -m benchmarks.subscribers [--sizes 10,1000] [--events 10000]
On the broker of SAGAD_TEST_AMQP_URL, or on a private one. Each subscriber has an event of its own and does nothing.
The daemon is a process of its own, from its start to readiness, on a broker without its queues and on one that has
them; the events are published while it is stopped by a signal, and the rate is taken from the first to the last one
handled. Beside it a bare aio-pika loop which declares and consumes as many queues, with a channel each: the floor.
Processor time is of the process that is measured: on a busy machine it says more than the clock.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import psutil

from daemon.events.rabbitmq.topology import DEAD_ARGUMENTS, queue_arguments
from tests.acceptance.application import Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import DaemonProcess, until
from tests.services import private_rabbit

GOAL_READY_S, GOAL_KIB, GOAL_RATIO = 4.0, 50, 0.8
SLOTS = 16
WITHIN_S = 300.0
ROOMY = {"vm_memory_high_watermark.absolute": "3GB"}  # for thousands of queues

_HEAD = '''"""Many subscribers, which count together; the last event writes how long they took."""

import json
import os
import time
from pathlib import Path

from daemon import Event, SubscriberContext, subscriber


class Meter:
    seen = 0
    first_s = first_cpu_s = 0.0

    @classmethod
    def tick(cls, options):
        cls.seen += 1
        if cls.seen == 1:
            cls.first_s, cls.first_cpu_s = time.monotonic(), time.process_time()
        elif cls.seen == options["events"]:
            partial = Path(options["result"] + ".partial")
            partial.write_text(json.dumps([time.monotonic() - cls.first_s, time.process_time() - cls.first_cpu_s]))
            os.replace(partial, options["result"])


OPTIONS = {options}
'''
_SUBSCRIBER = """

class Counted{number}(Event, name="bench.counted-{number}"):
    order_id: str


@subscriber(Counted{number}, id="count-{number}")
async def count_{number}(event: Counted{number}, ctx: SubscriberContext) -> None:
    Meter.tick(OPTIONS)
"""


def application(folder: Path, broker: Broker, size: int, events: int) -> Application:
    """Return an application with so many subscribers."""
    made = Application(folder / "app", {**broker.settings, "log.level": "warning"}, parts=())
    options = {"events": events, "result": str(folder / "result.json")}
    modules = [_SUBSCRIBER.format(number=number) for number in range(size)]
    made.add("subscribers/count.py", _HEAD.replace("{options}", repr(options)) + "".join(modules))
    return made


@contextmanager
def ready(made: Application) -> Iterator[tuple[DaemonProcess, float, float]]:
    """Run the daemon; give it with the seconds and processor seconds that it took from its start to readiness."""
    with made.daemon(wait=False, SAGAD_LOG__LEVEL="info") as daemon:
        daemon.wait_for("daemon_started", timeout_s=WITHIN_S)
        with daemon.api() as api:
            while api.get("/readyz").status_code != httpx.codes.OK:
                time.sleep(0.25)
        yield daemon, time.monotonic() - daemon.started_s, daemon.cpu_s()


async def load(broker: Broker, size: int, events: int) -> None:
    """Publish the events, evenly, and return once the broker has confirmed all of them."""
    connection = await aio_pika.connect(broker.url)
    channel = await connection.channel()
    exchange = await channel.get_exchange(broker.exchange)

    async def publish(number: int) -> None:
        body = json.dumps({"order_id": f"ord_{number:026d}", "note": "n" * 240}).encode()
        message = aio_pika.Message(body, message_id=str(number), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(message, f"bench.counted-{number % size}")

    for first in range(0, events, 500):
        async with asyncio.TaskGroup() as group:
            for number in range(first, min(first + 500, events)):
                group.create_task(publish(number))
    await connection.close()


async def bare(broker: Broker, size: int, prefix: str, *, dead: bool) -> tuple[float, float]:
    """Declare and consume as many queues; return seconds and processor seconds."""
    slots = asyncio.Semaphore(SLOTS)

    async def leave(_: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Leave it unanswered: there is none."""

    async def consume(number: int) -> None:
        name = f"{broker.app}.{prefix}-{number}"
        async with slots:
            channel = await connection.channel(publisher_confirms=False)
            if dead:
                await channel.declare_queue(f"{name}.dead", durable=True, arguments=dict(DEAD_ARGUMENTS))
            arguments = queue_arguments(f"{name}.dead", ordered=False)
            queue = await channel.declare_queue(name, durable=True, arguments=dict(arguments))
            await queue.consume(leave)

    before_s, before_cpu_s = time.monotonic(), time.process_time()
    connection = await aio_pika.connect(broker.url)
    async with asyncio.TaskGroup() as group:
        for number in range(size):
            group.create_task(consume(number))
    took = time.monotonic() - before_s, time.process_time() - before_cpu_s
    await connection.close()
    return took


def measured(url: str, size: int, events: int) -> tuple[float, float]:
    """Print the lines of one size; return memory in KiB, and events a second."""
    broker = Broker(url)
    with tempfile.TemporaryDirectory() as folder:
        made = application(Path(folder), broker, size, events)
        result = Path(folder) / "result.json"
        try:
            floor(broker, size, "new", "bare")
            broker.clean(f"bare-{number}" for number in range(size))
            with ready(made) as (_, took_s, cpu_s):
                print(f"{size:>5} subscribers, new queues: ready after {took_s:.1f} s, {cpu_s:.1f} s CPU")
            floor(broker, size, "existing", "count")
            with ready(made) as (daemon, took_s, cpu_s):
                print(f"{size:>5} subscribers, existing queues: ready after {took_s:.1f} s, {cpu_s:.1f} s CPU")
                memory = psutil.Process(daemon.pid).memory_info().rss / 1024
                daemon.send(signal.SIGSTOP)
                try:
                    asyncio.run(load(broker, size, events))
                finally:
                    daemon.send(signal.SIGCONT)
                until(result.exists, f"{events} events", timeout_s=WITHIN_S)
        finally:
            broker.clean(f"count-{number}" for number in range(size))
        took_s, cpu_s = json.loads(result.read_text())
    rate = (events - 1) / took_s
    print(f"{size:>5} subscribers: {rate:,.0f} events/s, {cpu_s / (events - 1) * 1e6:.0f} µs CPU each")
    return memory, rate


def floor(broker: Broker, size: int, queues: str, prefix: str) -> None:
    """Print how long the bare loop takes."""
    took_s, cpu_s = asyncio.run(bare(broker, size, prefix, dead=queues == "new"))
    print(f"{size:>5} in a bare loop, {queues} queues: {took_s:.1f} s, {cpu_s:.1f} s CPU")


@contextmanager
def broker_url() -> Iterator[str]:
    """Give the address of a RabbitMQ."""
    if url := os.environ.get("SAGAD_TEST_AMQP_URL"):
        yield url
    else:
        with private_rabbit(ROOMY) as node:
            yield node.url


def main() -> None:
    """Print the figures of each size, and compare the first with the last."""
    arguments: Any = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", default="10,1000")
    arguments.add_argument("--events", type=int, default=10_000)
    chosen = arguments.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    print(f"python -m benchmarks.subscribers --sizes {chosen.sizes} --events {chosen.events}")
    with broker_url() as url:
        found = [measured(url, size, chosen.events) for size in sizes]
    (few_kib, few_rate), (many_kib, many_rate) = found[0], found[-1]
    each = (many_kib - few_kib) / max(sizes[-1] - sizes[0], 1)
    print(f"memory {each:.0f} KiB for each subscriber; goal < {GOAL_KIB} KiB; ready: goal < {GOAL_READY_S:g} s")
    print(f"rate with {sizes[-1]} against {sizes[0]}: {many_rate / few_rate:.2f}; goal >= {GOAL_RATIO}")


if __name__ == "__main__":
    main()
