"""What every bus promises of ordered queues."""

import asyncio

from daemon.events.bus import Delivery, Subscription
from tests.contract.bus_contract.world import BusWorld, claim, consume, place, until


@claim
async def an_ordered_queue_has_one_delivery_out_across_processes_also_while_it_waits(world: BusWorld) -> None:
    one, two = await world.bus(), await world.bus()
    await one.declare([Subscription("reader", ("order.placed",), prefetch=1, ordered=True)])
    await place(one, *(f"o{at}" for at in range(6)))
    seen: list[tuple[str, int]] = []
    out = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal out
        out += 1
        assert out == 1
        await asyncio.sleep(0)
        envelope = delivery.message.envelope
        seen.append((envelope.id, delivery.attempt))
        out -= 1
        if envelope.id == "o2" and delivery.attempt < 3:
            await delivery.retry(0.1, attempt=delivery.attempt + 1, error="E")
        else:
            await delivery.ack()

    async with asyncio.TaskGroup() as group:
        for bus in (one, two):
            await bus.subscribe(
                Subscription("reader", ("order.placed",), prefetch=20, ordered=True),
                lambda delivery: void(group.create_task(handle(delivery))),
            )
        await until(lambda: len(seen) == 8)

    assert seen == [("o0", 1), ("o1", 1), ("o2", 1), ("o2", 2), ("o2", 3), ("o3", 1), ("o4", 1), ("o5", 1)]


def void(_: object) -> None:
    """Return nothing, whatever was given."""


@claim
async def an_ordered_queue_goes_on_after_its_consumer_died(world: BusWorld) -> None:
    dead, living = await world.bus(), await world.bus()
    inbox, _ = await consume(dead, "reader", ordered=True)
    await place(dead, "o1", "o2")
    await inbox.next()
    again, _ = await consume(living, "reader", ordered=True)

    await world.crash(dead)

    assert await again.ids(2) == ["o1", "o2"]
    assert len(inbox.deliveries) == 1
