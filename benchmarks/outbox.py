"""How many events a second the outbox publishes to RabbitMQ, each confirmed and then dropped from SQLite.

Run: python -m benchmarks.outbox [--events 10000] [--repeat 3]
On the broker of SAGAD_TEST_AMQP_URL, or on a private one. The events (300 bytes of JSON, persistent, into a quorum
queue) are staged before the outbox starts, each by an origin of its own, as the handlers of as many events leave them;
`synchronous=FULL`. Beside it, in turns: aio-pika alone, publishing as many of the same size, with 100 confirmations
awaited at one time.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika

from daemon.clock import SystemClock
from daemon.events.bus import Subscription
from daemon.events.model import Message, message_of, pack
from daemon.events.outbox import Outbox
from daemon.events.rabbitmq import RabbitBus
from daemon.store.model import OutgoingEvent
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import StageEvent
from daemon.trace import Trace
from tests.services import private_rabbit

NAME = "order.placed"
BODY = json.dumps({"order_id": "o" * 36, "note": "n" * 230}).encode()
IN_FLIGHT = 100
STAGED_AT_ONCE = 500


class CountingBus(RabbitBus):
    """Tells when as many events were confirmed as it was asked for."""

    def expect_confirmed(self, events: int) -> asyncio.Event:
        """Return what is set then."""
        self._left, self._reached = events, asyncio.Event()
        return self._reached

    async def send(self, message: Message) -> bool:
        routed = await super().send(message)
        self._left -= 1
        if self._left == 0:
            self._reached.set()
        return routed


def stage(app: str, events: int) -> list[StageEvent]:
    """Return what handlers of as many events leave in the store."""
    made = []
    for at in range(events):
        id = secrets.token_hex(16)
        trace = Trace.of({}, "benchmark", str(at))
        message = message_of(NAME, BODY, source=app, now_us=0, id=id, trace=trace)
        made.append(StageEvent(OutgoingEvent(id, app, f"handler-{at}", 1, pack(message), 0, "benchmark")))
    return made


@asynccontextmanager
async def measured(events: int, taken: list[tuple[float, float]]) -> AsyncIterator[None]:
    """Take the events a second, and the microseconds of processor time each, of what happens inside."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    yield
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    taken.append((events / seconds, cpu_s / events * 1e6))


async def through_outbox(url: str, events: int, taken: list[tuple[float, float]]) -> None:
    """Stage events, and relay them."""
    app = f"benchmark-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "sagad.db")
        await store.open()
        bus = CountingBus(url, app=app, exchange=f"{app}-events", store=store, owner="benchmark")
        await bus.start()
        await bus.declare([Subscription("sink", (NAME,), prefetch=1)])
        writes = stage(app, events)
        for at in range(0, events, STAGED_AT_ONCE):
            await store.commit(*writes[at : at + STAGED_AT_ONCE])
        outbox = Outbox(store, bus, app=app, owner="benchmark", clock=SystemClock())
        confirmed = bus.expect_confirmed(events)
        async with measured(events, taken):
            await outbox.start()
            await confirmed.wait()
            await outbox.aclose()  # once all is dropped
        left = await store.outgoing(app, limit=1)
        await bus.aclose()
        await store.aclose()
    await clean(url, f"{app}.sink", f"{app}.sink.dead", exchange=f"{app}-events")
    if left:
        raise SystemExit("Not everything was published.")


async def bare(url: str, events: int, taken: list[tuple[float, float]]) -> None:
    """Publish as many with aio-pika alone."""
    name = f"benchmark-{secrets.token_hex(4)}"
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, NAME)
        left = iter(range(events))

        async def publish() -> None:
            for _ in left:
                message = aio_pika.Message(
                    BODY, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=secrets.token_hex(16)
                )
                await exchange.publish(message, NAME, mandatory=True)

        async with measured(events, taken), asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(publish())
    await clean(url, name, exchange=name)


async def clean(url: str, *queues: str, exchange: str) -> None:
    """Delete what was declared."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        for queue in queues:
            await channel.queue_delete(queue)
        await channel.exchange_delete(exchange)


async def compare(url: str, events: int, repeat: int) -> None:
    """Measure both in turns, and print the medians."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(repeat):
        await through_outbox(url, events, ours)
        await bare(url, events, theirs)
    for label, taken in (("outbox", ours), ("aio-pika", theirs)):
        rate, cpu_us = (statistics.median(values) for values in zip(*taken, strict=True))
        print(f"{label:10}{rate:8,.0f} events/s {cpu_us:6.0f} us of processor time an event")
    ratio = statistics.median(a / b for (a, _), (b, _) in zip(ours, theirs, strict=True))
    print(f"outbox / aio-pika with {IN_FLIGHT} in flight: {ratio:.2f}")


def main() -> None:
    """Measure as the command says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    url = os.environ.get("SAGAD_TEST_AMQP_URL")
    print(f"python -m benchmarks.outbox --events {given.events} --repeat {given.repeat}")
    if url is not None:
        asyncio.run(compare(url, given.events, given.repeat))
        return
    with private_rabbit() as node:
        asyncio.run(compare(node.url, given.events, given.repeat))


if __name__ == "__main__":
    main()
