"""What other clients have been seen to get wrong about connections and channels that come and go."""

import asyncio
import gc
import tracemalloc

import aiormq
import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from daemon.errors import BrokerUnavailableError
from daemon.events.bus import Subscription
from daemon.events.model import message_of
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.connection import close
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Inbox, Laboratory, until

STAGES = {
    "the protocol's header": b"AMQP",
    "who we are": b"PLAIN",
    "what we agree to": b"\x00\x0a\x00\x1f",
    "the virtual host": b"\x00\x0a\x00\x28",
    "the channel": b"\x00\x14\x00\x0a",
    "the exchange": b"\x00\x28\x00\x0a",
    "the queue": b"\x00\x32\x00\x0a",
    "the binding": b"\x00\x32\x00\x14",
    "the prefetch": b"\x00\x3c\x00\x0a",
    "the consumption": b"\x00\x3c\x00\x14",
}


@pytest.mark.parametrize("marker", STAGES.values(), ids=list(STAGES))
@pytest.mark.parametrize("before", [True, False], ids=["sent", "answered"])
async def test_a_connection_that_is_cut_at_any_stage_is_made_again(
    lab: Laboratory, marker: bytes, *, before: bool
) -> None:
    """aio-pika#669, aio-pika#691, aio-pika#231."""
    async with Proxy(lab.url) as proxy:
        proxy.cut_at(marker, before=before)
        bus = await lab.bus(url=through(proxy))
        _, inbox = await lab.subscribe(bus, "greet", "customer.created")

        await lab.publish("customer.created", b"{}")

        await (await inbox.next()).ack()
        assert proxy.cuts == 1


@pytest.mark.parametrize("before", [True, False], ids=["sent", "answered"])
async def test_a_consumer_that_is_cancelled_while_the_connection_is_cut_ends(lab: Laboratory, *, before: bool) -> None:
    async with Proxy(lab.url) as proxy:
        bus = await lab.bus(url=through(proxy))
        consumer, _ = await lab.subscribe(bus, "greet", "customer.created")
        _, other = await lab.subscribe(bus, "other", "customer.created")
        proxy.cut_at(b"\x00\x3c\x00\x1e", before=before)

        await consumer.cancel()

        await until(lambda: consumer.ended)
        await until(lambda: bus.connected)
        assert await bus.send(message_of("customer.created", b"{}", source="shop", now_us=0))
        await (await other.next()).ack()
        [state] = await bus.queues(["greet"])
        assert (state.ready, state.consumers) == (1, 0)


async def test_a_bus_that_is_closed_while_it_connects_leaves_no_connection_behind(lab: Laboratory) -> None:
    """aio-pika#669."""

    def connections() -> int:
        gc.collect()
        return sum(isinstance(each, aiormq.Connection) and each.is_opened for each in gc.get_objects())

    before = connections()
    for turns in range(150):
        bus = await lab.bus()
        for _ in range(turns):
            await asyncio.sleep(0)

        async with asyncio.timeout(5):
            await bus.aclose()

    assert connections() == before


async def test_a_thousand_channels_that_were_opened_and_closed_leave_nothing_behind(lab: Laboratory) -> None:
    """aio-pika#570, aio-pika#659, aio-pika#658."""

    def channels() -> int:
        gc.collect()
        return sum(isinstance(each, aiormq.Channel) for each in gc.get_objects())

    async def open_and_close() -> None:
        for _ in range(50):
            await close(await bus._consume.channel())

    bus = await lab.bus()
    await bus.declare([])
    before = channels()
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(open_and_close())

    underlay = bus._consume._underlay
    assert underlay is not None
    assert channels() - before <= 1
    assert len(underlay.channels) <= 1  # the one for declarations
    assert max(underlay.channels, default=0) <= 2_047
    assert bus._consume.generation == 1


async def test_subscribers_that_come_and_go_leave_nothing_behind(lab: Laboratory) -> None:
    """aio-pika#490, aio-pika#494, aio-pika#284, aio-pika#496."""
    bus = await lab.bus()

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            consumer, _ = await lab.subscribe(bus, "greet", "customer.created")
            await consumer.cancel()
            await until(lambda one=consumer: one.ended)  # type: ignore[misc]

    def held() -> int:
        gc.collect()
        # It asks for attributes by names that it makes up, which Python remembers for a while.
        asked = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=False, filename_pattern="*/pamqp/*")]
        )
        return sum(trace.size for trace in asked.traces)

    await come_and_go(10)
    tracemalloc.start()
    await come_and_go(20)  # what is made once, and anew now and then, is there
    before = held()
    await come_and_go(50)
    after = held()
    tracemalloc.stop()

    assert after - before < 25 * 1_024  # one that leaks costs 10 KiB and more


async def test_settling_on_a_channel_that_is_closed_disturbs_nobody(lab: Laboratory) -> None:
    """aiormq#70, wolverine#3687: the channel alone is lost, and comes back on the same connection.

    aio-pika#449, aio-pika#98: what has the same tag on the new channel is not settled in its place.
    """
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    _, other = await lab.subscribe(bus, "other", "customer.created")
    for number in range(3):
        await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id=f"e{number}"))
    stale = [await inbox.next() for _ in range(3)]
    lost = consumer._channel
    assert lost is not None

    await lost.close()
    await stale[0].release()
    await stale[1].ack()
    await stale[2].dead_letter("rejected", error="too late")

    again = [await inbox.next() for _ in range(3)]
    assert {delivery.message.envelope.id for delivery in again} == {"e0", "e1", "e2"}
    for delivery in [*again, *[await other.next() for _ in range(3)]]:
        await delivery.ack()
    await until(lambda: consumer.ready)
    assert await bus.dead_letters("greet", limit=10) == []
    assert bus._consume.generation == 1


async def test_channels_that_the_broker_closes_alone_come_back_each_time(lab: Laboratory) -> None:
    """wolverine#3171: with the connection still up, its sender and its listener were latched for good."""
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    nowhere = f"{lab.exchange}.nowhere"

    for number in range(3):
        listening = consumer._channel
        assert listening is not None
        with pytest.raises(BrokerUnavailableError, match="NOT_FOUND"):
            await bus._publisher.publish(nowhere, "", Properties(), b"")
        await listening.basic_ack(1_000_000)
        await until(lambda lost=listening: lost.is_closed and consumer.ready)  # type: ignore[misc]

        sent = await bus.send(message_of("customer.created", b"{}", source="shop", now_us=0, id=f"e{number}"))

        delivery = await inbox.next()
        assert (sent, delivery.message.envelope.id) == (True, f"e{number}")
        await delivery.ack()
    assert (bus._consume.generation, bus._publish.generation) == (1, 1)


async def test_a_subscriber_that_leaves_while_it_declares_leaves_the_others_alone(lab: Laboratory) -> None:
    """aiormq#56: a call that is cancelled takes its channel with it."""
    bus = await lab.bus()
    lab.subscribers.add("brief")
    staying, inbox = await lab.subscribe(bus, "staying", "customer.created")
    channel = staying._channel

    for turns in range(0, 120, 3):
        brief = await bus.subscribe(Subscription("brief", ("customer.moved",), 5), Inbox())
        for _ in range(turns):
            await asyncio.sleep(0)
        await brief.aclose()

    await lab.publish("customer.created", b"{}")
    await (await inbox.next()).ack()
    assert staying._channel is channel
    assert bus._consume.generation == 1
    consumer, _ = await lab.subscribe(bus, "brief", "customer.moved")
    assert consumer.ready


async def test_nothing_is_answered_on_a_channel_that_we_are_closing(lab: Laboratory) -> None:
    """aiormq#70: the broker, which knows no such channel any more, would close the whole connection."""
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()

    consumer._stalled = True  # the broker does not know of the consumer, it says
    consumer._interrupted.set()
    while consumer._channel is not None:  # noqa: ASYNC110 - until the closing has begun, and not until it has ended
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    answered = await delivery.ack()

    again = await inbox.next()
    assert not answered
    assert again.message.envelope.id == delivery.message.envelope.id
    assert await again.ack()
    assert bus._consume.generation == 1


@pytest.mark.parametrize("draining", [False, True])
async def test_what_was_acknowledged_last_stays_acknowledged_when_the_bus_closes(
    lab: Laboratory, *, draining: bool
) -> None:
    """celery#3802: also of more than the broker passes on to a quorum queue at one time."""
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=100)

    def publish(channel: BlockingChannel) -> None:
        channel.confirm_delivery()  # what is not confirmed is lost with the channel
        for number in range(100):
            channel.basic_publish(lab.exchange, "customer.created", str(number).encode())

    await lab.amqp(publish)
    taken = [await inbox.next() for _ in range(100)]
    if draining:
        await consumer.cancel()
        await lab.publish("customer.created", b"next")
    for delivery in taken:
        await delivery.ack()
    await bus.aclose()
    if not draining:
        await lab.publish("customer.created", b"next")

    _, inbox = await lab.subscribe(await lab.bus(), "greet", "customer.created", prefetch=100)
    following = await inbox.next()
    assert (following.message.body, following.crashes) == (b"next", 0)
    await lab.publish("customer.created", b"last")
    await following.ack()
    last = await inbox.next()
    assert last.message.body == b"last"
    assert consumer.ended


async def test_while_every_handler_is_busy_heartbeats_answers_and_the_end_still_pass(lab: Laboratory) -> None:
    """nameko#430."""
    bus = await lab.bus(heartbeat_s=1)
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=3)
    for number in range(4):
        await lab.publish("customer.created", str(number).encode())
    busy = [await inbox.next() for _ in range(3)]
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    await until(lambda: loop.time() - started_s > 4)  # the broker gives up on whom it does not hear for 2 s
    await busy[0].ack()
    following = await inbox.next()
    await consumer.cancel()
    for delivery in [*busy[1:], following]:
        await delivery.ack()

    await until(lambda: consumer.ended)
    assert following.message.body == b"3"
    assert not following.redelivered
    assert bus._consume.generation == 1
