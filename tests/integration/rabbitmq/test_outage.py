"""A broker that goes and comes back: these tests have a node of their own to treat badly."""

import asyncio

import pika
import pytest

from daemon.errors import BrokerUnavailableError
from daemon.events.model import message_of
from daemon.log import captured_log
from tests.integration.rabbitmq.laboratory import Laboratory, Node, until


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


async def test_a_restarted_broker_finds_everybody_at_work_again(node: Node, lab: Laboratory) -> None:
    bus = await lab.bus(publish_timeout_s=0.5)
    first, inbox = await lab.subscribe(bus, "first", "customer.created")
    second, _ = await lab.subscribe(bus, "second", "customer.moved")
    await lab.publish("customer.created", b"1", pika.BasicProperties(message_id="e1"))
    unsettled = await inbox.next()
    finish = asyncio.Event()

    async def handle() -> str:
        await finish.wait()
        await unsettled.ack()
        return "undisturbed"

    handler = asyncio.create_task(handle())
    with captured_log() as log:
        await asyncio.to_thread(node.stop)
        await until(lambda: not bus.connected)
        ready_meanwhile = (first.ready, second.ready)
        with pytest.raises(BrokerUnavailableError):
            await bus.send(message_of("customer.created", b"lost", source="shop", now_us=0))
        await asyncio.to_thread(node.start)
        await until(lambda: bus.connected and first.ready and second.ready, timeout_s=30)
    again = await inbox.next()
    finish.set()

    assert await handler == "undisturbed"
    assert ready_meanwhile == (False, False)
    assert (again.message.envelope.id, again.redelivered) == ("e1", True)
    await again.ack()
    await bus.send(message_of("customer.created", b"2", source="shop", now_us=0))
    assert (await inbox.next()).message.body == b"2"
    changes = [line["event"] for line in log if line["event"].startswith("broker_")]
    assert changes == ["broker_lost", "broker_connected"]


async def test_a_broker_low_on_memory_stops_publishing_and_nothing_else(node: Node, lab: Laboratory) -> None:
    bus = await lab.bus(publish_timeout_s=0.5)
    _, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=1)
    for number in range(2):
        await bus.send(message_of("customer.created", str(number).encode(), source="shop", now_us=0))
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "absolute", "1")

    async def publish_until_blocked() -> None:
        while True:  # the broker blocks whoever publishes next, and says so a little later
            await bus.send(message_of("customer.moved", b"{}", source="shop", now_us=0))

    with captured_log() as log, pytest.raises(BrokerUnavailableError, match="unknown: it is low on memory or disk"):
        await publish_until_blocked()
    await (await inbox.next()).ack()
    second = await inbox.next()
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "absolute", "512MB")

    assert second.message.body == b"1"
    await second.ack()
    bus._publisher._timeout_s = 10
    with captured_log() as then:
        await bus.send(message_of("customer.created", b"2", source="shop", now_us=0))
    assert (await inbox.next()).message.body == b"2"
    assert [line["event"] for line in (*log, *then)] == ["broker_blocked", "broker_unblocked"]
    assert (bus._consume.generation, bus._publish.generation) == (1, 1)


async def test_a_broker_that_comes_back_empty_is_given_its_topology_again(node: Node, lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"1")
    await (await inbox.next()).retry(0.1, attempt=2, error="no")
    await (await inbox.next()).ack()

    for command in ("stop_app", "reset", "start_app"):
        await asyncio.to_thread(node.ctl, command)
    await until(lambda: bus.connected and consumer.ready, timeout_s=30)

    await bus.send(message_of("customer.created", b"2", source="shop", now_us=0))
    await (await inbox.next()).retry(0.1, attempt=2, error="no")
    await (await inbox.next()).dead_letter("rejected", error="no")
    assert [letter.body for letter in await bus.dead_letters("greet", limit=10)] == [b"2"]


async def test_a_bus_that_was_there_before_the_broker_begins_when_it_comes(node: Node, lab: Laboratory) -> None:
    """aio-pika#202."""
    await asyncio.to_thread(node.stop)
    bus = await lab.bus()
    consumer, inbox = await lab.attempt(bus, "greet", "customer.created")
    await until(lambda: bus.trouble != "")

    await asyncio.to_thread(node.start)

    await until(lambda: consumer.ready, timeout_s=30)
    await lab.publish("customer.created", b"1")
    assert (await inbox.next()).message.body == b"1"
