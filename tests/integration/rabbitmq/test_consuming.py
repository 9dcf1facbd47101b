"""What reaches a subscriber, and how it goes on when something is lost on the way."""

import asyncio
from datetime import UTC, datetime

import pika
import pytest

from daemon.errors import BrokerUnavailableError, PayloadTooLargeError
from daemon.events.model import Envelope, Message, message_of
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Laboratory, until
from tests.services import free_port


def message(name: str, event_id: str, body: bytes = b"{}") -> Message:
    return message_of(name, body, source="shop", now_us=1_800_000_000_000_000, id=event_id)


async def test_plain_json_of_another_program_reaches_a_subscriber(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.*")

    await lab.publish("customer.created", b'{"id": "c1"}')

    delivery = await inbox.next()
    assert delivery.message.body == b'{"id": "c1"}'
    assert delivery.message.envelope.name == "customer.created"
    assert (delivery.subscriber, delivery.attempt, delivery.redelivered) == ("greet", 1, False)
    assert delivery.message.envelope.id


async def test_what_we_publish_can_be_read_by_another_program(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.amqp(lambda channel: channel.exchange_declare(lab.exchange, "topic", durable=True))
    await lab.amqp(lambda channel: channel.queue_declare(f"{lab.app}.theirs"))
    await lab.amqp(lambda channel: channel.queue_bind(f"{lab.app}.theirs", lab.exchange, "customer.created"))

    await bus.send(message("customer.created", "event-1", b'{"id": "c1"}'))

    method, properties, body = await lab.take(f"{lab.app}.theirs")
    await lab.amqp(lambda channel: channel.queue_delete(f"{lab.app}.theirs"))
    assert (method.routing_key, body) == ("customer.created", b'{"id": "c1"}')
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert (properties.message_id, properties.type, properties.app_id) == ("event-1", "customer.created", "shop")
    assert properties.correlation_id == "event-1"
    headers = properties.headers
    assert headers.pop("cloudEvents_time").endswith("Z")
    assert headers == {
        "cloudEvents_id": "event-1",
        "cloudEvents_source": "shop",
        "cloudEvents_type": "customer.created",
        "cloudEvents_specversion": "1.0",
    }


async def test_an_envelope_comes_back_as_it_was_sent(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "retries": 3, "ratio": 0.1}
    when = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    sent = Message(Envelope("e1", "customer.created", when, "shop", "c0", "e0", trace), b'{"id":"c1"}')

    routed = await bus.send(sent)

    delivery = await inbox.next()
    assert routed
    assert delivery.message == sent


async def test_an_event_that_nobody_wants_is_reported_as_unroutable(lab: Laboratory) -> None:
    bus = await lab.bus()

    routed = await bus.send(message("nobody.cares", "e1"))

    assert not routed
    assert bus.unroutable == 1


async def test_many_publishers_at_once_learn_each_its_own_outcome(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.subscribe(bus, "greet", "wanted")

    async with asyncio.TaskGroup() as group:
        # Two at a time share an id: the broker names a message that comes back by its id alone.
        tasks = {
            (number, name): group.create_task(bus.send(message(name, f"e{number}")))
            for number in range(100)
            for name in ("wanted", "unwanted")
        }

    assert all(task.result() == (name == "wanted") for (_, name), task in tasks.items())


async def test_headers_that_fit_into_no_frame_are_not_published(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.subscribe(bus, "greet", "wanted")
    heavy = Envelope("e1", "wanted", datetime.now(UTC), "shop", headers={"note": "n" * 200_000})

    with pytest.raises(PayloadTooLargeError, match="The envelope of 'wanted'"):
        await bus.send(Message(heavy, b"{}"))

    assert await bus.send(message("wanted", "e2"))


async def test_an_unsettled_delivery_comes_again_with_its_id_after_its_channel_was_lost(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b'{"id": "same"}')
    await lab.publish("customer.created", b'{"id": "same"}')
    first, second = await inbox.next(), await inbox.next()

    await bus._consume._connection.close()  # type: ignore[union-attr]

    again = [await inbox.next(), await inbox.next()]
    assert all(delivery.redelivered for delivery in again)
    ids = [first.message.envelope.id, second.message.envelope.id]
    assert [delivery.message.envelope.id for delivery in again] == ids
    assert len(set(ids)) == 2
    await first.ack()  # the broker has taken it back: nothing happens
    await first.dead_letter("rejected", error="too late")
    for delivery in again:
        await delivery.ack()
    assert await bus.dead_letters("greet", limit=10) == []


async def test_a_released_delivery_goes_to_somebody_else_as_the_same_attempt(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id="e1"))
    delivery = await inbox.next()

    await delivery.release()

    again = await inbox.next()
    assert (again.message.envelope.id, again.attempt) == ("e1", 1)
    await again.ack()


async def test_a_cancelled_consumer_takes_nothing_and_settles_what_it_took(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"1", pika.BasicProperties(message_id="e1"))
    taken = await inbox.next()

    await consumer.cancel()
    await lab.publish("customer.created", b"2", pika.BasicProperties(message_id="e2"))
    await taken.ack()

    assert not consumer.ready
    await until(lambda: consumer.ended)
    assert inbox.waiting == 0
    [state] = await bus.queues(["greet"])
    assert (state.ready, state.consumers) == (1, 0)


async def test_prefetch_bounds_what_is_unsettled(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=2)

    for number in range(5):
        await lab.publish("customer.created", str(number).encode())
    held = [await inbox.next(), await inbox.next()]

    [state] = await bus.queues(["greet"])
    assert (state.ready, inbox.waiting) == (3, 0)
    for delivery in held:
        await delivery.ack()
    assert (await inbox.next()).message.body == b"2"


async def test_publishing_without_a_broker_ends_in_time_with_our_error() -> None:
    bus = await Laboratory(f"amqp://guest:secret@127.0.0.1:{free_port()}/").bus(publish_timeout_s=0.3)

    with pytest.raises(BrokerUnavailableError, match="cannot be reached") as caught:
        await bus.send(message("customer.created", "e1"))

    await bus.aclose()
    assert "secret" not in str(caught.value)
    assert not bus.connected


@pytest.mark.parametrize("silent", [True, False])
async def test_publishing_while_the_connection_is_lost_ends_in_time_with_our_error(
    lab: Laboratory, *, silent: bool
) -> None:
    """aio-pika#556, aio-pika#636, faststream#1579: it hung, whether the connection was gone or had fallen silent."""
    async with Proxy(lab.url) as proxy:
        bus = await lab.bus(url=through(proxy), publish_timeout_s=0.5)
        await lab.subscribe(bus, "greet", "customer.created")
        assert await bus.send(message("customer.created", "e1"))

        proxy.freeze() if silent else proxy.refuse()
        async with asyncio.timeout(3):
            with pytest.raises(BrokerUnavailableError):
                await bus.send(message("customer.created", "e2"))

        await until(lambda: silent or not bus.connected)
        proxy.thaw()
        proxy.accept()
        await until(lambda: bus.connected, timeout_s=20)
        assert await bus.send(message("customer.created", "e2"))


@pytest.mark.parametrize(
    ("user", "vhost", "said"),
    [("guest:wrong", "", "refused the user 'guest'"), ("guest:guest", "nowhere", "virtual host 'nowhere'")],
)
async def test_a_refused_connection_is_explained_without_the_password(
    lab: Laboratory, user: str, vhost: str, said: str
) -> None:
    address = lab.url.split("@")[1].rstrip("/")

    bus = await lab.bus(url=f"amqp://{user}@{address}/{vhost}")

    await until(lambda: bus.trouble != "")
    assert said in bus.trouble
    assert "wrong" not in bus.trouble
