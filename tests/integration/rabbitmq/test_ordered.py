"""Ordered subscribers: one event at a time, in order, whatever becomes of connections, daemons and the broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pika
import pytest

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.events.bus import Delivery, Subscription
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.rabbitmq.line import IDLE_S
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.log import captured_log
from daemon.retry import Retry
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Laboratory, until
from tests.services import RabbitContainer, RabbitNode, private_rabbit

if TYPE_CHECKING:
    from daemon.events.rabbitmq import RabbitBus
    from daemon.events.rabbitmq.consumer import RabbitConsumer

TIMEOUT_S = 6.0
LEASE_S = 3_600.0
LEDGER = Subscription("ledger", ("entry",), 1, ordered=True)
Node = RabbitNode | RabbitContainer
Handler = Callable[[str, int], Awaitable[None]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A broker that takes the channel from whoever leaves a delivery unanswered for six seconds."""
    with private_rabbit({"consumer_timeout": str(round(TIMEOUT_S * 1_000))}) as running:
        running.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
        yield running


@pytest.fixture
async def lab(node: Node) -> AsyncIterator[Laboratory]:
    laboratory = Laboratory(node.url)
    yield laboratory
    await laboratory.aclose()


class Daemon:
    """A process with the ordered subscriber `ledger`, and a lease that says that it lives."""

    def __init__(self, lab: Laboratory, owner: str) -> None:
        self.lab = lab
        self.owner = owner
        self.ran: list[tuple[str, int]] = []
        self.done: list[str] = []
        self.bus: RabbitBus
        self.consumer: RabbitConsumer
        self.dispatcher: Dispatcher

    async def start(self, handle: Handler, **options: Any) -> None:
        """Consume."""

        @subscriber("entry", id="ledger", ordered=True, retry=Retry(max_attempts=5, delay=timedelta(seconds=0.3)))
        async def ledger(event: dict[str, Any], ctx: SubscriberContext) -> None:
            del event
            self.ran.append((ctx.event.id, ctx.attempt))
            await handle(ctx.event.id, ctx.attempt)
            self.done.append(ctx.event.id)

        store = self.lab.store
        await store.register(self.lab.app, self.owner, lease_s=LEASE_S)
        self.bus = await self.lab.bus(owner=self.owner, **options)
        around = Surroundings(self.lab.app, store, SystemClock(), Services([]).handler_container, lambda: None)
        self.dispatcher = Dispatcher(ledger, around, options={})
        self.lab.subscribers.add("ledger")
        self.consumer = await self.bus.subscribe(LEDGER, self.dispatcher.receive)
        await until(lambda: self.consumer.ready)

    async def die(self) -> None:
        """End as a killed process does."""
        self.lab.store.deaf = True
        await self.dispatcher.drain(0)
        await self.lab.die(self.bus)
        await self.lab.store.retire(self.owner)


async def at_once(id: str, attempt: int) -> None:
    """Handle an event without any trouble."""


async def publish(lab: Laboratory, *ids: str) -> None:
    for id in ids:
        await lab.publish("entry", b"{}", pika.BasicProperties(message_id=id))


def id_of(delivery: Delivery) -> str:
    return delivery.message.envelope.id


async def test_what_takes_longer_than_the_broker_waits_is_handled_once_and_nothing_overtakes_it(
    lab: Laboratory,
) -> None:
    """celery#6760, dramatiq#827: what waits behind it is moved to the store, too, and keeps its place."""
    daemon = Daemon(lab, "one")

    async def handle(id: str, _: int) -> None:
        await asyncio.sleep(10 if id == "slow" else 0)

    with captured_log() as log:
        await daemon.start(handle, consumer_timeout_s=TIMEOUT_S)
        channel = daemon.consumer._channel
        await publish(lab, "slow", *"abcd")
        await until(lambda: len(daemon.done) == 5, timeout_s=20)

    assert daemon.ran == [(each, 1) for each in ("slow", *"abcd")]
    assert daemon.consumer._channel is channel
    assert len([line for line in log if line["event"] == "event_parked"]) >= 3
    await lab.until_nothing_is_kept()
    [state] = await daemon.bus.queues(["ledger"])
    assert state.ready == 0


async def test_what_is_parked_and_all_behind_it_goes_on_in_order_when_its_daemon_is_killed(lab: Laboratory) -> None:
    dying, next_ = Daemon(lab, "one"), Daemon(lab, "two")
    blocked = asyncio.Event()

    async def block(_: str, __: int) -> None:
        await blocked.wait()

    await dying.start(block, consumer_timeout_s=0.8)
    await publish(lab, *"abcd")
    await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 3)
    await dying.die()

    await next_.start(at_once)

    await until(lambda: len(next_.done) == 4)
    assert (dying.ran, dying.done) == ([("a", 1)], [])
    assert next_.ran == [(each, 1) for each in "abcd"]
    await lab.until_nothing_is_kept()


@pytest.mark.parametrize("times", [1, 2])
async def test_a_standby_waits_for_the_one_that_has_lost_its_connection_and_handles_nothing_twice(
    lab: Laboratory, times: int
) -> None:
    """The broker gives the event to the next daemon while the first one is still at it."""
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    async with Proxy(lab.url) as proxy:
        await first.start(wait, url=through(proxy))
        await standby.start(at_once)
        await publish(lab, *"abc")
        await until(lambda: first.ran == [("a", 1)])

        for _ in range(times):
            proxy.accept()
            await until(lambda: first.consumer.ready)
            proxy.refuse()
            await until(lambda: not first.bus.connected)
        await until(lambda: standby.consumer._intake.taken == 1)
        await asyncio.sleep(1.5 * IDLE_S)  # for so long it would keep its turn if it were at nothing
        began_meanwhile = [*standby.ran]
        finish.set()

        await until(lambda: standby.done == ["b", "c"])

    assert began_meanwhile == []
    assert (first.ran, standby.ran) == ([("a", 1)], [("b", 1), ("c", 1)])


async def test_a_standby_goes_on_with_the_attempt_that_follows_the_one_that_failed_without_a_connection(
    lab: Laboratory,
) -> None:
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def fail(_: str, __: int) -> None:
        await finish.wait()
        raise RuntimeError("no")

    async with Proxy(lab.url) as proxy:
        await first.start(fail, url=through(proxy))
        await standby.start(at_once)
        await publish(lab, *"ab")
        await until(lambda: first.ran == [("a", 1)])

        proxy.refuse()
        await until(lambda: standby.consumer._intake.taken == 1)
        finish.set()

        await until(lambda: standby.done == ["a", "b"])

    assert (first.ran, standby.ran) == ([("a", 1)], [("a", 2), ("b", 1)])
    await lab.until_nothing_is_kept()


async def test_what_a_daemon_has_parked_stays_its_own_when_its_connection_is_lost(lab: Laboratory) -> None:
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    async with Proxy(lab.url) as proxy:
        await first.start(wait, url=through(proxy), consumer_timeout_s=0.8)
        await standby.start(at_once, consumer_timeout_s=0.8)
        await publish(lab, *"abcd")
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) >= 2)

        proxy.refuse()
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 4)  # moved by the standby
        began_meanwhile = [*standby.ran]
        finish.set()

        await until(lambda: len(first.done) + len(standby.done) == 4)

    assert began_meanwhile == []
    assert first.ran[0] == ("a", 1)
    assert [each for each, _ in first.ran + standby.ran] == [*"abcd"]


async def test_a_retry_of_what_is_parked_waits_in_place_and_outlives_its_daemon(lab: Laboratory) -> None:
    dying = await lab.bus(consumer_timeout_s=0.4)
    consumer, inbox = await lab.subscribe(dying, "ledger", "entry", prefetch=1, ordered=True)
    await publish(lab, *"ab")
    loop = asyncio.get_running_loop()
    first = await inbox.next()
    await until(lambda: first.row is not None)  # type: ignore[attr-defined]
    started_s = loop.time()
    held = await first.retry(0.3, attempt=2, error="no")
    second = await inbox.next()
    second_after_s = loop.time() - started_s
    held &= await second.retry(1.5, attempt=3, error="no")
    await lab.die(dying)

    _, inbox = await lab.subscribe(await lab.bus(), "ledger", "entry", prefetch=1, ordered=True)

    third = await inbox.next()
    assert held
    assert loop.time() - started_s >= 1.79
    assert second_after_s >= 0.29
    assert [(id_of(each), each.attempt) for each in (first, second, third)] == [("a", 1), ("a", 2), ("a", 3)]
    assert third.first_seen_us == first.first_seen_us
    await third.ack()
    assert id_of(await inbox.next()) == "b"
    assert consumer.subscription.ordered


async def test_what_is_parked_can_be_dead_lettered_and_released_and_the_next_one_follows(lab: Laboratory) -> None:
    bus = await lab.bus(consumer_timeout_s=0.4)
    _, inbox = await lab.subscribe(bus, "ledger", "entry", prefetch=1, ordered=True)
    await publish(lab, *"abc")

    ends = []
    for end in ("dead_letter", "release", "ack", "ack"):
        delivery = await inbox.next()
        await until(lambda: delivery.row is not None)  # type: ignore[attr-defined] # noqa: B023
        given = {"reason": "rejected", "error": "no"} if end == "dead_letter" else {}
        ends.append((id_of(delivery), await getattr(delivery, end)(**given)))

    assert ends == [("a", True), ("b", True), ("b", True), ("c", True)]
    [letter] = await bus.dead_letters("ledger", limit=10)
    assert letter.event_id == "a"
    await lab.until_nothing_is_kept()


async def test_a_daemon_that_leaves_while_an_event_is_parked_hands_on_what_is_behind_it_and_not_before(
    lab: Laboratory,
) -> None:
    leaving, staying = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    await leaving.start(wait, consumer_timeout_s=0.8)
    await staying.start(at_once)
    await publish(lab, *"abc")
    await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) >= 1)

    await leaving.consumer.cancel()
    await until(lambda: staying.consumer._intake.taken == 1)
    began_meanwhile = [*staying.ran]
    finish.set()

    await until(lambda: staying.done == ["b", "c"])
    assert (began_meanwhile, leaving.ran) == ([], [("a", 1)])
    await lab.until_nothing_is_kept()


async def test_an_event_that_kills_every_daemon_while_it_is_parked_is_a_dead_letter_and_the_next_follows(
    lab: Laboratory,
) -> None:
    blocked = asyncio.Event()

    async def block(id: str, _: int) -> None:
        if id == "poison":
            await blocked.wait()

    await (await lab.bus()).declare([LEDGER])
    await publish(lab, "poison", "next")
    for owner in ("one", "two", "three"):
        daemon = Daemon(lab, owner)
        await daemon.start(block, consumer_timeout_s=0.4)
        await until(lambda: daemon.ran == [("poison", 1)])  # noqa: B023
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 2)
        await daemon.die()
    last = Daemon(lab, "four")

    await last.start(block)

    await until(lambda: last.done == ["next"])
    assert last.ran == [("next", 1)]
    [letter] = await last.bus.dead_letters("ledger", limit=10)
    assert (letter.event_id, letter.reason) == ("poison", "crashed")
