"""Deliveries that take longer than the broker has patience, on a broker that has little."""

import asyncio
from collections.abc import Iterator

import pika
import pytest

from daemon.events.bus import Delivery
from tests.integration.rabbitmq.laboratory import Laboratory, Node, until
from tests.services import private_rabbit

TIMEOUT_S = 6.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A broker that takes the channel from whoever leaves a delivery unanswered for six seconds."""
    with private_rabbit({"consumer_timeout": str(round(TIMEOUT_S * 1_000))}) as running:
        running.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
        yield running


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


async def publish(lab: Laboratory, *ids: str) -> None:
    for id in ids:
        await lab.publish("order.placed", b"{}", pika.BasicProperties(message_id=id))


def id_of(delivery: Delivery) -> str:
    return delivery.message.envelope.id


async def test_what_takes_longer_than_the_broker_waits_is_handled_once_and_its_channel_stands(
    lab: Laboratory,
) -> None:
    """celery#6760: the broker's patience ends, and everything is processed again, in a loop."""
    bus = await lab.bus(consumer_timeout_s=TIMEOUT_S)
    consumer, inbox = await lab.subscribe(bus, "pack", "order.placed", prefetch=2)
    await publish(lab, "slow", "waiting", "next")
    first, second = await inbox.next(), await inbox.next()
    channel = consumer._channel

    await until(lambda: consumer._intake.empty or inbox.waiting > 0, timeout_s=TIMEOUT_S)
    third = await inbox.next(timeout_s=TIMEOUT_S / 2)
    await third.ack()
    await asyncio.sleep(TIMEOUT_S)
    kept = await lab.store.queue_depths(lab.app)
    settled = [await first.ack(), await second.ack()]

    assert consumer._channel is channel
    assert (id_of(first), id_of(second), id_of(third)) == ("slow", "waiting", "next")
    assert kept == {"pack": (0, 2, 0)}
    assert settled == [True, True]
    await lab.until_nothing_is_kept()
    assert inbox.waiting == 0


async def park(lab: Laboratory, **options: float) -> tuple[object, Delivery]:
    """Return a bus, and a delivery of its that the store has."""
    bus = await lab.bus(consumer_timeout_s=0.4, **options)
    consumer, inbox = await lab.subscribe(bus, "pack", "order.placed")
    await publish(lab, "slow")
    delivery = await inbox.next()
    await until(lambda: consumer._intake.empty)
    return bus, delivery


async def test_what_was_parked_is_delivered_again_when_its_process_has_died_and_runs_alone(lab: Laboratory) -> None:
    bus, _ = await park(lab)
    await lab.die(bus)  # type: ignore[arg-type]

    _, inbox = await lab.subscribe(await lab.bus(), "pack", "order.placed")
    again = await inbox.next()

    assert (id_of(again), again.attempt, again.redelivered, again.crashes) == ("slow", 1, True, 1)
    await again.ack()
    await lab.until_nothing_is_kept()


async def test_what_was_parked_can_be_retried_released_and_dead_lettered(lab: Laboratory) -> None:
    bus = await lab.bus(consumer_timeout_s=0.4)
    consumer, inbox = await lab.subscribe(bus, "pack", "order.placed")
    await publish(lab, "slow")

    async def parked() -> Delivery:
        delivery = await inbox.next()
        await until(lambda: consumer._intake.empty)
        return delivery

    ends = []
    delivery = await parked()
    ends.append((delivery.attempt, await delivery.retry(0.2, attempt=2, error="no")))
    delivery = await parked()
    ends.append((delivery.attempt, await delivery.release()))
    delivery = await parked()
    ends.append((delivery.attempt, await delivery.dead_letter("rejected", error="no")))

    assert ends == [(1, True), (2, True), (2, True)]
    assert delivery.crashes == 0
    (letter,) = await bus.dead_letters("pack", limit=10)
    assert (letter.event_id, letter.attempts) == ("slow", 2)
    await lab.until_nothing_is_kept()


async def test_what_was_parked_does_not_come_again_when_the_channel_is_lost(lab: Laboratory) -> None:
    bus, delivery = await park(lab)
    (consumer,) = bus._consumers  # type: ignore[attr-defined]

    await consumer._channel.close()
    await until(lambda: not consumer.ready)
    await until(lambda: consumer.ready)
    await publish(lab, "next")

    assert await delivery.ack()
    [state] = await bus.queues(["pack"])  # type: ignore[attr-defined]
    assert state.ready == 0
    await lab.until_nothing_is_kept()
