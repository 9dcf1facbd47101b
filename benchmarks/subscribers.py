"""What a thousand subscribers in one daemon on RabbitMQ cost, against ten: time to ready, memory each, events a second.

Run: python -m benchmarks.subscribers [--sizes 10,1000] [--events 10000] [--rounds 3]
On the broker of SAGAD_TEST_AMQP_URL, or on a private one. Each subscriber has an event of its own and does nothing.
The daemon is a process of its own, from its start to readiness, on a broker without its queues and on one that has
them. Beside it a bare aio-pika loop which declares and consumes as many queues, with a channel each: the floor.
Then the daemons of all sizes are there at the same time, and take turns: the events are published while one is stopped
by a signal, and its rate is taken from the first to the last one handled. What is compared are medians of the rounds.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
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
    seen = rounds = 0
    first_s = first_cpu_s = 0.0

    @classmethod
    def tick(cls, options):
        cls.seen += 1
        if cls.seen == 1:
            cls.first_s, cls.first_cpu_s = time.monotonic(), time.process_time()
        elif cls.seen == options["events"]:
            partial = Path(options["result"] + ".partial")
            partial.write_text(json.dumps([time.monotonic() - cls.first_s, time.process_time() - cls.first_cpu_s]))
            os.replace(partial, f"{options['result']}-{cls.rounds}")
            cls.seen, cls.rounds = 0, cls.rounds + 1


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
    options = {"events": events, "result": str(folder / "result")}
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


async def load(broker: Broker, size: int, events: int, *, turn: int) -> None:
    """Publish the events, evenly, and return once the broker has confirmed all of them."""
    connection = await aio_pika.connect(broker.url)
    channel = await connection.channel()
    exchange = await channel.get_exchange(broker.exchange)

    async def publish(number: int) -> None:
        body = json.dumps({"order_id": f"ord_{number:026d}", "note": "n" * 240}).encode()
        message = aio_pika.Message(body, message_id=f"{turn}-{number}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
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


class Party:
    """A daemon with so many subscribers.

    Attributes:
        memory_kib: Of its process, once it was ready.
        rates: Events a second of each round.
        costs_us: Processor time of an event of each round.
    """

    def __init__(self, url: str, folder: Path, size: int, events: int) -> None:
        self.size = size
        self.memory_kib = 0.0
        self.rates: list[float] = []
        self.costs_us: list[float] = []
        self._broker = Broker(url)
        self._events = events
        self._result = folder / "result"
        self._application = application(folder, self._broker, size, events)
        self._daemon: DaemonProcess

    @contextmanager
    def there(self) -> Iterator[None]:
        """Print how long it takes to be ready, on new queues and on existing ones, and have it there."""
        size, broker = self.size, self._broker
        try:
            floor(broker, size, "new", "bare")
            broker.clean(f"bare-{number}" for number in range(size))
            with ready(self._application) as (_, took_s, cpu_s):
                print(f"{size:>5} subscribers, new queues: ready after {took_s:.1f} s, {cpu_s:.1f} s CPU")
            floor(broker, size, "existing", "count")
            with ready(self._application) as (self._daemon, took_s, cpu_s):
                print(f"{size:>5} subscribers, existing queues: ready after {took_s:.1f} s, {cpu_s:.1f} s CPU")
                self.memory_kib = psutil.Process(self._daemon.pid).memory_info().rss / 1024
                yield
        finally:
            broker.clean(f"count-{number}" for number in range(size))

    def measure(self) -> None:
        """Have it handle the events once."""
        result = Path(f"{self._result}-{len(self.rates)}")
        self._daemon.send(signal.SIGSTOP)
        try:
            asyncio.run(load(self._broker, self.size, self._events, turn=len(self.rates)))
        finally:
            self._daemon.send(signal.SIGCONT)
        until(result.exists, f"{self._events} events", timeout_s=WITHIN_S)
        took_s, cpu_s = json.loads(result.read_text())
        self.rates.append((self._events - 1) / took_s)
        self.costs_us.append(cpu_s / (self._events - 1) * 1e6)
        print(f"{self.size:>5} subscribers: {self.rates[-1]:,.0f} events/s, {self.costs_us[-1]:.0f} µs CPU each")


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
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    print(f"python -m benchmarks.subscribers --sizes {chosen.sizes} --events {chosen.events} --rounds {chosen.rounds}")
    with broker_url() as url, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        parties = [Party(url, Path(folder) / str(size), size, chosen.events) for size in sizes]
        for party in parties:
            stack.enter_context(party.there())
        for _ in range(chosen.rounds):
            for party in parties:
                party.measure()
    few, many = parties[0], parties[-1]
    each_kib = (many.memory_kib - few.memory_kib) / max(many.size - few.size, 1)
    rate, cost = (median(many.rates) / median(few.rates), median(many.costs_us) / median(few.costs_us))
    print(f"memory {each_kib:.0f} KiB for each subscriber; goal < {GOAL_KIB} KiB; ready: goal < {GOAL_READY_S:g} s")
    print(f"{many.size} against {few.size}: {rate:.2f} of the rate, {cost:.2f} of the CPU; goal >= {GOAL_RATIO}")


if __name__ == "__main__":
    main()
