"""Handles the events of one queue with something else than sagad, for `benchmarks.events`.

Run: python -m benchmarks.events_peer bare|faststream --url URL --queue NAME --events 10000 --prefetch 200
Prints what the events took between the first and the last one: seconds, processor seconds, the largest memory in MiB.
"""

import argparse
import asyncio
import json
import resource
import time
from importlib import import_module

import aio_pika
from pydantic import BaseModel


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
    """Counts a peer's events, and says when all were handled and what they took."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._seen = 0
        self._first_s = self._first_cpu_s = 0.0
        self.done: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

    def tick(self) -> None:
        """Count one."""
        self._seen += 1
        if self._seen == 1:
            self._first_s, self._first_cpu_s = time.monotonic(), _cpu_s()
        elif self._seen == self._events:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            self.done.set_result([time.monotonic() - self._first_s, _cpu_s() - self._first_cpu_s, memory])


async def bare(url: str, queue_name: str, prefetch: int, tally: Tally) -> None:
    """Consume with aio-pika alone."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch)
    queue = await channel.get_queue(queue_name)

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        Order.model_validate_json(message.body)
        await message.ack()
        tally.tick()

    await queue.consume(handle)
    await tally.done
    await connection.close()


async def faststream(url: str, queue_name: str, prefetch: int, tally: Tally) -> None:
    """Consume with FastStream."""
    rabbit = import_module("faststream.rabbit")
    broker = rabbit.RabbitBroker(url, default_channel=rabbit.Channel(prefetch_count=prefetch), logger=None)

    @broker.subscriber(rabbit.RabbitQueue(queue_name, declare=False))  # type: ignore[untyped-decorator]
    async def handle(_: Order) -> None:
        tally.tick()

    await broker.start()
    await tally.done
    await broker.stop()


async def consume(peer: str, url: str, queue_name: str, events: int, prefetch: int) -> list[float]:
    """Have a peer handle the events, and return what it took."""
    tally = Tally(events)
    await {"bare": bare, "faststream": faststream}[peer](url, queue_name, prefetch, tally)
    return await tally.done


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Consume, and print one JSON list."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("peer", choices=["bare", "faststream"])
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--queue", required=True)
    arguments.add_argument("--events", type=int, required=True)
    arguments.add_argument("--prefetch", type=int, required=True)
    chosen = arguments.parse_args()
    print(json.dumps(asyncio.run(consume(chosen.peer, chosen.url, chosen.queue, chosen.events, chosen.prefetch))))


if __name__ == "__main__":
    main()
