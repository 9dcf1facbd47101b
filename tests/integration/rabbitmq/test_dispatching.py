"""A subscriber's handler on a broker that is lost in the middle: each attempt runs once, and has its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pika
import pytest

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.errors import Reject
from daemon.events.bus import Subscription
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.model import message_of, pack
from daemon.events.outbox import Outbox
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.retry import Retry
from daemon.store.memory import MemoryStore
from daemon.store.model import OutgoingEvent
from daemon.store.writes import StageEvent
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Laboratory, until

if TYPE_CHECKING:
    from daemon.events.rabbitmq import RabbitBus
    from daemon.events.rabbitmq.consumer import RabbitConsumer

Handler = Callable[[str, int], Awaitable[None]]
QUICK = Retry(max_attempts=5, delay=timedelta(milliseconds=50))


class Ship:
    """A subscriber `greet` behind a proxy, with all that a daemon has around it."""

    def __init__(self, lab: Laboratory, proxy: Proxy) -> None:
        self.lab = lab
        self.proxy = proxy
        self.store = MemoryStore()
        self.clock = SystemClock()
        self.ran: list[tuple[str, int]] = []
        self.bus: RabbitBus
        self.dispatcher: Dispatcher
        self.consumer: RabbitConsumer

    async def connect(self, **options: Any) -> None:
        """Begin to connect through the proxy."""
        port = urlsplit(self.proxy.url).port
        parts = urlsplit(self.lab.url)
        login = parts.netloc.rpartition("@")[0]
        url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        self.bus = await self.lab.bus(**{"url": url, "publish_timeout_s": 2} | options)
        await until(lambda: self.bus.connected or bool(self.bus.trouble))

    async def consume(self, handle: Handler, *, prefetch: int = 10, **options: Any) -> None:
        """Have events handled."""

        @subscriber("customer.*", id="greet", **{"retry": QUICK, **options})
        async def greet(event: dict[str, Any], ctx: SubscriberContext) -> None:
            self.ran.append((ctx.event.id, ctx.attempt))
            await handle(ctx.event.id, ctx.attempt)

        around = Surroundings("shop", self.store, self.clock, Services([]).handler_container, lambda: None)
        self.dispatcher = Dispatcher(greet, around, options={})
        self.lab.subscribers.add("greet")
        subscription = Subscription("greet", ("customer.*",), prefetch)
        self.consumer = await self.bus.subscribe(subscription, self.dispatcher.receive)
        await until(lambda: self.consumer.ready or not self.bus.connected)

    async def publish(self, *ids: str) -> None:
        """Publish as another program."""
        for id in ids:
            await self.lab.publish("customer.created", b"{}", pika.BasicProperties(message_id=id))

    async def lose(self) -> None:
        """Lose the connection."""
        self.proxy.refuse()
        await until(lambda: not self.bus.connected)

    async def find(self) -> None:
        """Get it back, with what was not settled."""
        self.proxy.accept()
        await until(lambda: self.bus.connected and self.consumer.ready, timeout_s=20)

    async def at_rest(self) -> tuple[int | None, int | None]:
        """Return how many events wait, and are dead, once none is under way."""
        await until(lambda: self.dispatcher.in_flight == 0 and self.consumer._intake.empty, timeout_s=20)
        [state] = await self.bus.queues(["greet"])
        return state.ready, state.dead


async def _return(id: str, attempt: int) -> None:
    """Handle an event without any trouble."""


@pytest.fixture
async def ship(lab: Laboratory) -> AsyncIterator[Ship]:
    async with Proxy(lab.url) as proxy:
        made = Ship(lab, proxy)
        yield made
        proxy.accept()


async def test_an_event_that_is_handled_while_the_connection_is_lost_is_handled_once(ship: Ship) -> None:
    """celery#4671."""
    finish = asyncio.Event()

    async def handle(id: str, attempt: int) -> None:
        await finish.wait()

    await ship.connect()
    await ship.consume(handle)
    await ship.publish("e1")
    await until(lambda: ship.ran == [("e1", 1)])

    await ship.lose()
    await ship.find()
    await until(lambda: not ship.consumer._intake.empty)
    finish.set()

    assert await ship.at_rest() == (0, 0)
    assert ship.ran == [("e1", 1)]


async def test_an_event_that_ends_while_the_connection_is_lost_is_not_handled_again(ship: Ship) -> None:
    """celery#4671."""
    lost = asyncio.Event()

    async def handle(id: str, attempt: int) -> None:
        await lost.wait()
        if id == "fails" and attempt == 1:
            raise ValueError
        if id == "rejects":
            raise Reject("no")

    await ship.connect()
    await ship.consume(handle)
    await ship.publish("returns", "fails", "rejects")
    await until(lambda: len(ship.ran) == 3)

    await ship.lose()
    lost.set()
    await until(lambda: ship.dispatcher.in_flight == 0)
    await ship.find()
    await until(lambda: ("fails", 2) in ship.ran)

    assert await ship.at_rest() == (0, 1)
    assert sorted(ship.ran) == [("fails", 1), ("fails", 2), ("rejects", 1), ("returns", 1)]
    [letter] = await ship.bus.dead_letters("greet", limit=10)
    assert (letter.event_id, letter.reason, letter.attempts) == ("rejects", "rejected", 1)


async def test_what_is_staged_while_the_broker_is_away_from_the_start_leaves_when_it_comes(ship: Ship) -> None:
    """nameko#746."""
    ship.proxy.refuse()
    await ship.connect()
    await ship.consume(_return)
    outbox = Outbox(ship.store, ship.bus, app="shop", owner="p1", clock=ship.clock)
    await outbox.start()
    for at in range(3):
        message = message_of("customer.created", b"{}", source="shop", now_us=0, id=f"e{at}")
        await ship.store.commit(StageEvent(OutgoingEvent(f"e{at}", "shop", "run-1", at, pack(message), 0, "p1")))
    outbox.poke()
    away = [event.id for event in await ship.store.outgoing("shop", limit=10)]

    ship.proxy.accept()
    await until(lambda: len(ship.ran) == 3, timeout_s=20)
    await outbox.aclose()

    assert away == ["e0", "e1", "e2"]
    assert [id for id, _ in ship.ran] == ["e0", "e1", "e2"]
    assert await ship.store.outgoing("shop", limit=10) == []


async def test_a_dead_letter_whose_queue_is_gone_is_settled_all_the_same(ship: Ship) -> None:
    """wolverine#3706: what cannot be dead-lettered is never settled, and fills the prefetch."""

    async def handle(id: str, attempt: int) -> None:
        raise Reject("no")

    await ship.connect()
    await ship.consume(handle, prefetch=2)
    await ship.lab.amqp(lambda channel: channel.queue_delete(f"{ship.lab.app}.greet.dead"))
    await ship.publish(*(f"e{at}" for at in range(6)))
    await until(lambda: len(ship.ran) == 6)

    assert await ship.at_rest() == (0, 6)


async def test_a_paused_subscriber_with_a_prefetch_of_one_goes_on(ship: Ship) -> None:
    """wolverine#2078: paused while it requeues, with a prefetch of 1, it waits for itself."""
    is_down, handled = True, set[str]()
    all_there = asyncio.Event()

    async def handle(id: str, attempt: int) -> None:
        await all_there.wait()
        if is_down:
            raise ConnectionRefusedError
        handled.add(id)

    await ship.connect()
    await ship.consume(handle, prefetch=1, concurrency=1)
    await ship.publish(*(f"e{at}" for at in range(15)))
    all_there.set()
    await until(lambda: ship.dispatcher.paused)
    is_down = False
    await until(lambda: not ship.dispatcher.paused)

    await until(lambda: len(handled) == 15)
    assert await ship.at_rest() == (0, 0)


async def test_a_handler_that_blocks_everything_until_the_broker_hangs_up_runs_once(ship: Ship) -> None:
    """aio-pika#580, aio-pika#288, faststream#1636: nobody answers the broker's heartbeat, and the channel is closed."""

    async def handle(id: str, _: int) -> None:
        if id == "blocks":
            time.sleep(5)  # noqa: ASYNC251 - which is what nobody should do

    await ship.connect(heartbeat_s=1)
    await ship.consume(handle)

    await ship.publish("blocks", "next")

    await until(lambda: ship.bus._consume.generation > 1, timeout_s=20)
    await until(lambda: ship.bus.connected and ship.consumer.ready, timeout_s=20)
    await until(lambda: ("next", 1) in ship.ran, timeout_s=20)
    assert await ship.at_rest() == (0, 0)
    assert ship.ran == [("blocks", 1), ("next", 1)]


async def test_what_always_fails_is_tried_as_often_as_its_policy_says_and_ever_later(ship: Ship) -> None:
    """faststream#1657: it was put back at once, for ever."""
    at_s: list[float] = []
    loop = asyncio.get_running_loop()

    async def fail(_: str, __: int) -> None:
        at_s.append(loop.time())
        raise ValueError("never")

    await ship.connect()
    await ship.consume(fail, retry=Retry(max_attempts=3, delay=timedelta(seconds=0.2), backoff=3))
    await ship.publish("e1")
    await until(lambda: len(ship.ran) == 3)

    assert await ship.at_rest() == (0, 1)
    assert ship.ran == [("e1", 1), ("e1", 2), ("e1", 3)]
    assert at_s[1] - at_s[0] >= 0.19
    assert at_s[2] - at_s[1] >= 0.59
