"""What is declared, what is left alone, and whom a mistake concerns."""

import asyncio
import gc

import pika
from pika.adapters.blocking_connection import BlockingChannel

from daemon.events.bus import Subscription
from daemon.events.model import message_of
from tests.integration.rabbitmq.laboratory import Laboratory, until


async def test_a_queue_with_other_arguments_stops_its_own_subscriber_and_no_other(lab: Laboratory) -> None:
    """dramatiq#301."""
    await lab.amqp(lambda channel: channel.queue_declare(f"{lab.app}.bad", durable=True))
    bus = await lab.bus()

    bad, _ = await lab.attempt(bus, "bad", "customer.created")
    _, inbox = await lab.subscribe(bus, "good", "customer.created")
    await until(lambda: bad.trouble != "")
    await lab.publish("customer.created", b"{}")

    assert (await inbox.next()).subscriber == "good"
    assert not bad.ready
    assert "inequivalent arg" in bad.trouble
    assert f"{lab.app}.bad" in bad.trouble
    [state] = await bus.queues(["bad"])
    assert state.ready == 1  # bound all the same


async def test_a_subscriber_is_back_in_service_once_its_queue_is_as_it_should_be(lab: Laboratory) -> None:
    await lab.amqp(lambda channel: channel.queue_declare(f"{lab.app}.bad", durable=True))
    bus = await lab.bus()
    bad, inbox = await lab.attempt(bus, "bad", "customer.created")
    await until(lambda: bad.trouble != "")

    await lab.delete_queue("bad")

    await until(lambda: bad.ready)
    await lab.publish("customer.created", b"{}")
    assert (await inbox.next()).message.body == b"{}"
    assert bad.trouble == ""


async def test_a_queue_deleted_under_its_consumer_is_back_at_once(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")

    await lab.delete_queue("greet")

    await until(lambda: not consumer.ready)
    await until(lambda: consumer.ready, timeout_s=5)
    await lab.publish("customer.created", b'{"new": 1}')
    assert (await inbox.next()).message.body == b'{"new": 1}'


async def test_what_a_subscriber_no_longer_wants_is_unbound(lab: Laboratory) -> None:
    before = await lab.bus()
    await lab.subscribe(before, "greet", "customer.created", "customer.moved")
    await before.aclose()

    after = await lab.bus()
    _, inbox = await lab.subscribe(after, "greet", "customer.moved", "customer.left")
    for name in ("customer.created", "customer.moved", "customer.left"):
        await lab.publish(name, b"{}")

    names = [(await inbox.next()).message.envelope.name for _ in range(2)]
    assert names == ["customer.moved", "customer.left"]
    assert await lab.store.bindings(lab.app) == [("greet", "customer.left"), ("greet", "customer.moved")]


async def test_declared_without_a_consumer_nothing_is_lost(lab: Laboratory) -> None:
    bus = await lab.bus()
    await bus.declare([Subscription("greet", ("customer.created",), 10)])

    await lab.publish("customer.created", b"{}")

    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    assert (await inbox.next()).message.body == b"{}"


async def test_an_exchange_of_somebody_else_is_used_as_it_is(lab: Laboratory) -> None:
    await lab.amqp(lambda channel: channel.exchange_declare(lab.exchange, "topic", durable=False))
    bus = await lab.bus()

    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")

    assert (await inbox.next()).message.body == b"{}"


async def test_an_exchange_of_another_type_is_refused_with_its_name(lab: Laboratory) -> None:
    await lab.amqp(lambda channel: channel.exchange_declare(lab.exchange, "direct", durable=True))
    bus = await lab.bus()

    consumer, _ = await lab.attempt(bus, "greet", "customer.created")

    await until(lambda: consumer.trouble != "")
    assert f"The exchange {lab.exchange!r} is no topic exchange" in consumer.trouble


async def test_who_may_declare_nothing_is_told_what_is_missing(lab: Laboratory) -> None:
    bus = await lab.bus(declare="never")

    consumer, _ = await lab.attempt(bus, "greet", "customer.created")

    await until(lambda: consumer.trouble != "")
    assert f"no queue '{lab.app}.greet'" in consumer.trouble
    assert "broker.declare" in consumer.trouble


async def test_what_somebody_else_declared_is_used_without_declaring(lab: Laboratory) -> None:
    declaring = await lab.bus()
    consumer, _ = await lab.subscribe(declaring, "greet", "customer.created")
    await consumer.cancel()
    bus = await lab.bus(declare="never")

    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")

    assert (await inbox.next()).message.body == b"{}"


async def test_the_next_daemon_goes_on_when_an_ordered_subscriber_has_done_its_last(lab: Laboratory) -> None:
    first_bus, second_bus = await lab.bus(), await lab.bus()
    first, inbox = await lab.subscribe(first_bus, "ledger", "entry", prefetch=1, ordered=True)
    _, standby = await lab.subscribe(second_bus, "ledger", "entry", prefetch=1, ordered=True)

    def publish(channel: BlockingChannel) -> None:
        for number in range(4):
            channel.basic_publish(lab.exchange, "entry", str(number).encode(), pika.BasicProperties())

    await lab.amqp(publish)
    for expected in (b"0", b"1"):
        delivery = await inbox.next()
        assert delivery.message.body == expected
        await delivery.ack()
    last = await inbox.next()
    await first.cancel()

    waiting_meanwhile = standby.waiting
    await last.ack()

    assert (waiting_meanwhile, last.message.body) == (0, b"2")
    following = await standby.next()
    assert following.message.body == b"3"
    await following.ack()


async def test_channels_that_the_broker_closed_leave_nothing_behind(lab: Laboratory) -> None:
    def futures() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())

    bus = await lab.bus()
    await bus.declare([])
    await bus.queues(["nobody"])

    before = futures()
    for _ in range(50):
        assert (await bus.queues(["nobody"]))[0].ready is None

    assert futures() - before < 10


async def test_what_operators_ask_disturbs_nobody_who_consumes_or_publishes(lab: Laboratory) -> None:
    """The broker may close the connection over what was asked, and there may be very much of it."""
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    other, dying = await lab.subscribe(bus, "bury", "customer.left")
    for number in range(50):
        await bus.send(message_of("customer.left", b"1" * 10_000, source="shop", now_us=number))
        await (await dying.next()).dead_letter("rejected", error="no")
    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(bus.queues(["greet", "bury", "nobody"]))
            group.create_task(bus.dead_letters("bury", limit=50))
            group.create_task(bus.plan([consumer.subscription, other.subscription]))
    await bus._operator._link._connection.close()  # type: ignore[union-attr]
    letters = await bus.dead_letters("bury", limit=50)

    assert await delivery.ack()
    assert (consumer.ready, bus._consume.generation, bus._publish.generation) == (True, 1, 1)
    assert len(letters) == 50
