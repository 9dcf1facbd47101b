"""A broker that comes back empty, a queue that is broken: what is published is not lost, and nobody else is stopped."""

import asyncio
from pathlib import Path

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from daemon.clock import SystemClock
from daemon.events.bus import Consumer, Delivery, Subscription
from daemon.events.model import message_of, pack
from daemon.events.outbox import Outbox
from daemon.events.rabbitmq import RabbitBus
from daemon.log import captured_log
from daemon.store.model import OutgoingEvent
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import StageEvent
from tests.integration.amqp_proxy import AmqpProxy, close_connection, consume_ok, through
from tests.integration.rabbitmq.laboratory import Laboratory, Node, until


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


def empty(node: Node) -> None:
    """Restart a broker that has forgotten everything."""
    for command in ("stop_app", "reset", "start_app"):
        node.ctl(command)


class Crowd:
    """Forty subscribers of one event, and who of them has got what."""

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.seen: dict[str, set[str]] = {f"s{number}": set() for number in range(40)}
        self._settling: set[asyncio.Task[bool]] = set()

    async def subscribe(self, lab: Laboratory, bus: RabbitBus) -> None:
        lab.subscribers.update(self.seen)
        for subscriber in self.seen:
            subscription = Subscription(subscriber, ("order.placed",), 10)
            self.consumers.append(await bus.subscribe(subscription, self._take))

    def have(self, ids: set[str]) -> bool:
        return all(seen >= ids for seen in self.seen.values())

    def _take(self, delivery: Delivery) -> None:
        self.seen[delivery.subscriber].add(delivery.message.envelope.id)
        settling = asyncio.create_task(delivery.ack())
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)


async def stage(store: SqliteStore, app: str, ids: set[str]) -> None:
    staged = []
    for event_id in sorted(ids):
        message = message_of("order.placed", b"{}", source="shop", now_us=0, id=event_id)
        staged.append(StageEvent(OutgoingEvent(event_id, app, event_id, 1, pack(message), 0, "p1")))
    await store.commit(*staged)


async def test_what_is_staged_while_a_broker_comes_back_empty_reaches_every_subscriber(
    node: Node, lab: Laboratory, tmp_path: Path
) -> None:
    """aio-pika#632, faststream#2758."""
    store = SqliteStore(tmp_path / "shop.db")
    await store.open()
    bus, crowd = await lab.bus(store=store), Crowd()
    await crowd.subscribe(lab, bus)
    await until(lambda: all(consumer.ready for consumer in crowd.consumers), timeout_s=30)
    outbox = Outbox(store, bus, app=lab.app, owner="p1", clock=SystemClock())
    await outbox.start()
    ids = {f"e{number}" for number in range(100)}

    emptied = asyncio.create_task(asyncio.to_thread(empty, node))
    await until(lambda: not bus.connected, timeout_s=30)
    await stage(store, lab.app, ids)
    outbox.poke()
    await emptied

    await until(lambda: crowd.have(ids), timeout_s=30)
    await outbox.aclose()
    await store.aclose()
    assert bus.unroutable == 0


async def test_what_was_staged_before_the_start_waits_for_the_subscribers_of_a_new_broker(
    lab: Laboratory, tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "shop.db")
    await store.open()
    await stage(store, lab.app, {"e1"})
    bus, crowd = await lab.bus(store=store), Crowd()
    bus.expect(list(crowd.seen))
    outbox = Outbox(store, bus, app=lab.app, owner="p1", clock=SystemClock())
    await outbox.start()
    await until(lambda: bus.connected)

    await crowd.subscribe(lab, bus)

    await until(lambda: crowd.have({"e1"}), timeout_s=30)
    await outbox.aclose()
    await store.aclose()
    assert bus.unroutable == 0


async def test_an_event_of_ours_that_comes_back_brings_its_queue_about_again(lab: Laboratory) -> None:
    """dramatiq#832."""
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")

    def unbind(channel: BlockingChannel) -> None:
        channel.queue_unbind(f"{lab.app}.greet", lab.exchange, "customer.created")

    await lab.amqp(unbind)  # nobody tells us

    routed = await bus.send(message_of("customer.created", b"{}", source="shop", now_us=0, id="e1"))
    unwanted = await bus.send(message_of("customer.left", b"{}", source="shop", now_us=0))

    assert (routed, unwanted) == (True, False)
    assert (await inbox.next()).message.envelope.id == "e1"
    assert bus.unroutable == 1


async def test_a_queue_over_which_the_connection_is_closed_costs_the_others_nothing(lab: Laboratory) -> None:
    """rabbitmq-server#14675, rabbitmq-server#15725, rabbitmq-server#11561."""
    async with AmqpProxy(lab.url) as proxy:
        damaged = {f"{lab.app}.{subscriber}" for subscriber in ("worse", "bad")}
        proxy.answers = dict.fromkeys(damaged, close_connection(541, "INTERNAL_ERROR"))
        bus = await lab.bus(url=through(proxy), quarantine_s=30)
        bad = [(await lab.attempt(bus, subscriber, "order.placed"))[0] for subscriber in ("worse", "bad")]
        good = [await lab.attempt(bus, f"good-{number}", "order.placed") for number in range(20)]

        await until(lambda: all(consumer.trouble for consumer in bad), timeout_s=20)
        await until(lambda: all(consumer.ready for consumer, _ in good), timeout_s=20)
        generation = bus._consume.generation
        routed = await bus.send(message_of("order.placed", b"{}", source="shop", now_us=0, id="e1"))
        seen = [await inbox.next() for _, inbox in good]

        assert routed
        assert {delivery.message.envelope.id for delivery in seen} == {"e1"}
        assert all("541" in consumer.trouble or "INTERNAL_ERROR" in consumer.trouble for consumer in bad)
        assert bus._consume.generation == generation
        assert all(proxy.asked[queue] <= 3 for queue in damaged)


async def test_a_queue_that_was_repaired_is_consumed_again(lab: Laboratory) -> None:
    """rabbitmq-server#14675."""
    async with AmqpProxy(lab.url) as proxy:
        proxy.answers = {f"{lab.app}.bad": close_connection(540, "NOT_IMPLEMENTED")}
        bus = await lab.bus(url=through(proxy))
        bad, inbox = await lab.attempt(bus, "bad", "order.placed")
        await until(lambda: bad.trouble != "", timeout_s=20)
        generation = bus._consume.generation

        proxy.answers.clear()
        await lab.publish("order.placed", b"{}")

        await until(lambda: bad.ready, timeout_s=20)
        await (await inbox.next()).ack()
        assert bad.trouble == ""
        assert bus._consume.generation == generation


async def test_a_consumer_that_the_broker_forgot_is_brought_back(lab: Laboratory) -> None:
    """rabbitmq-server#13368, faststream#2758."""
    async with AmqpProxy(lab.url) as proxy:
        proxy.answers = {f"{lab.app}.greet": consume_ok}  # the broker has never heard of it
        bus = await lab.bus(url=through(proxy), liveness_s=0.2)
        with captured_log() as log:
            consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
            await lab.publish("customer.created", b"{}")
            proxy.answers.clear()

            delivery = await inbox.next()

        await delivery.ack()
        assert consumer.ready
        revived = [line for line in log if line["event"] == "consumer_revived"]
        assert [(line["subscriber"], line["consumers"]) for line in revived] == [("greet", 0)]


async def test_a_consumer_that_is_given_nothing_while_there_is_something_is_brought_back(lab: Laboratory) -> None:
    """rabbitmq-server#13368: the broker counts somebody else, who is busy, and another of ours that rightly waits."""
    async with AmqpProxy(lab.url) as proxy:
        proxy.answers = {f"{lab.app}.greet": consume_ok}
        busy, bus = await lab.bus(), await lab.bus(url=through(proxy), liveness_s=0.2)
        _, their_inbox = await lab.subscribe(busy, "greet", "customer.created", prefetch=1)
        _, full_inbox = await lab.subscribe(bus, "full", "customer.created", prefetch=1)
        await lab.subscribe(bus, "idle", "customer.moved")
        await lab.publish("customer.created", b"1")
        held = [await their_inbox.next(), await full_inbox.next()]
        with captured_log() as log:
            _, inbox = await lab.subscribe(bus, "greet", "customer.created")
            await lab.publish("customer.created", b"2")
            proxy.answers.clear()

            delivery = await inbox.next()

        assert delivery.message.body == b"2"
        assert [line["subscriber"] for line in log if line["event"] == "consumer_revived"] == ["greet"]
        for each in [delivery, *held]:
            await each.ack()


async def test_a_standby_that_the_broker_forgot_is_brought_back_when_the_other_one_leaves(lab: Laboratory) -> None:
    """rabbitmq-server#13368: as long as another daemon consumes an ordered queue, nothing is missing."""
    async with AmqpProxy(lab.url) as proxy:
        proxy.answers = {f"{lab.app}.ledger": consume_ok}
        active, bus = await lab.bus(), await lab.bus(url=through(proxy), liveness_s=0.2)
        first, _ = await lab.subscribe(active, "ledger", "entry", ordered=True)
        with captured_log() as log:
            _, inbox = await lab.subscribe(bus, "ledger", "entry", ordered=True)
            proxy.answers.clear()
            await first.cancel()
            await lab.publish("entry", b"1")

            delivery = await inbox.next()

        await delivery.ack()
        assert [line["consumers"] for line in log if line["event"] == "consumer_revived"] == [0]


async def test_an_ordered_consumer_is_brought_back_when_something_is_ready_and_no_daemon_is_at_work(
    lab: Laboratory,
) -> None:
    """rabbitmq-server#13368: the broker counts somebody who hangs, and not us; one who works is left alone."""
    async with AmqpProxy(lab.url) as proxy:
        proxy.answers = {f"{lab.app}.ledger": consume_ok}
        other, bus = await lab.bus(), await lab.bus(url=through(proxy), liveness_s=0.1)
        await lab.store.register(lab.app, other._owner, lease_s=3_600)
        hanging, held = await lab.subscribe(other, "ledger", "entry", ordered=True)
        await lab.publish("entry", b"1")
        await lab.publish("entry", b"2")
        await held.next()
        with captured_log() as log:
            consumer, inbox = await lab.subscribe(bus, "ledger", "entry", ordered=True)
            looks = proxy.asked[f"{lab.app}.ledger"]
            await asyncio.sleep(0.5)
            while_it_works = [line for line in log if line["event"] == "consumer_revived"]

            await lab.store.retire(other._owner)
            proxy.answers.clear()
            await until(lambda: any(line["event"] == "consumer_revived" for line in log))
            await until(lambda: consumer.ready)
            await hanging.aclose()

            delivery = await inbox.next()

        assert (looks, while_it_works) == (1, [])
        assert delivery.message.body == b"1"
        await delivery.ack()
