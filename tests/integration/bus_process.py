"""A daemon in small: one subscriber on the embedded bus, on a database that other processes share.

    python -m tests.integration.bus_process DATABASE LEDGER [PAUSE_S]

Handles every `order.placed` by writing its id as a line into the ledger, PAUSE_S after it has begun; the order `poison`
kills the process. Prints `ready`, and ends when its standard input does.
"""

import asyncio
import os
import sys
from pathlib import Path

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.events.dispatch import Dispatcher
from daemon.events.embedded import EmbeddedBus
from daemon.events.handling import Surroundings
from daemon.events.model import Event
from daemon.events.subscriber import subscriber
from daemon.store.sqlite import SqliteStore


class OrderPlaced(Event, name="order.placed"):
    """What is handled."""

    id: str


async def run(database: Path, ledger: Path, pause_s: float) -> None:
    """Consume until standard input ends."""
    clock, store, owner = SystemClock(), SqliteStore(database), f"process-{os.getpid()}"
    await store.open()
    await store.register("shop", owner, lease_s=60)

    @subscriber(OrderPlaced, id="keep-ledger")
    async def keep(event: OrderPlaced) -> None:
        if event.id == "poison":
            os._exit(1)
        await asyncio.sleep(pause_s)
        with ledger.open("a") as lines:
            lines.write(f"{event.id}\n")

    bus = EmbeddedBus(store, app="shop", owner=owner, clock=clock)
    around = Surroundings("shop", store, clock, Services([]).handler_container, lambda: None)
    dispatcher = Dispatcher(keep, around, options={})
    await bus.start()
    consumer = await bus.subscribe(keep.subscription(20), dispatcher.receive)
    sys.stdout.write("ready\n")
    sys.stdout.flush()

    await asyncio.to_thread(sys.stdin.read)

    await consumer.cancel()
    await dispatcher.drain(10)
    await bus.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
