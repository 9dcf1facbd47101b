"""What becomes of a subscriber's events while the service is down that its handler needs."""

import asyncio
from collections import Counter, deque
from datetime import timedelta
from typing import Any

import pytest

from daemon.events.dispatch import Dispatcher
from daemon.events.model import Event
from daemon.events.subscriber import Subscriber, SubscriberContext, subscriber
from daemon.retry import Retry
from tests.unit.events.conftest import Desk, Handed, order


class OrderPlaced(Event, name="order.placed"):
    id: str


class Service:
    """What the handler needs; `error` is what it raises while it is down."""

    def __init__(self, error: Exception, **options: Any) -> None:
        self.error: Exception | None = error
        self.calls = 0

        @subscriber(OrderPlaced, id="note-order", **options)
        async def note(event: OrderPlaced) -> None:
            self.calls += 1
            if self.error is not None:
                raise type(self.error)(*self.error.args)  # another one: its traceback would grow

        self.subscriber: Subscriber[OrderPlaced] = note


class Queue:
    """A broker's queue: hands out as many as the prefetch allows, and takes back what is to wait."""

    def __init__(self, desk: Desk, dispatcher: Dispatcher, *, prefetch: int = 20) -> None:
        self.ends: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()
        self._desk = desk
        self._dispatcher = dispatcher
        self._waiting: deque[tuple[str, int]] = deque()
        self._room = prefetch

    def put(self, *ids: str, attempt: int = 1) -> None:
        """Take events."""
        self._waiting.extend((id, attempt) for id in ids)
        self._hand_out()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with everything that happens meanwhile."""
        clock = self._desk.clock
        until_s = clock.monotonic_s() + seconds
        await self._rest()
        while (due_s := clock.next_due_s()) is not None and clock.monotonic_s() + due_s <= until_s:
            clock.advance(timedelta(seconds=due_s))
            await self._rest()
        clock.advance(timedelta(seconds=until_s - clock.monotonic_s()))

    async def _rest(self) -> None:
        before = -1
        while before != self.ends.total():
            before = self.ends.total()
            await self._desk.settle()

    def _hand_out(self) -> None:
        while self._room and self._waiting:
            self._room -= 1
            id, attempt = self._waiting.popleft()
            self.attempts[attempt] += 1
            self._dispatcher.receive(Lent(self, id, attempt))

    def ended(self, id: str, how: str, *rest: Any) -> None:
        """Take note of a delivery's end."""
        self.ends[how] += 1
        self._room += 1
        if how == "retry":
            delay_s, attempt, _ = rest
            self._desk.clock.call_later(delay_s, lambda: self.put(id, attempt=attempt))
        self._hand_out()


class Lent(Handed):
    """A delivery of that queue."""

    def __init__(self, queue: Queue, id: str, attempt: int) -> None:
        super().__init__(order(id), attempt=attempt)
        self._queue = queue

    def _settle(self, *how: Any) -> bool:
        self._queue.ended(self.message.envelope.id, *how)
        return super()._settle(*how)


@pytest.mark.parametrize(
    ("options", "dead"),
    [({}, 0), ({"concurrency": 1}, 0), ({"retry": Retry.never()}, 9)],
    ids=["default", "one-at-a-time", "one-attempt"],
)
async def test_while_the_service_is_down_few_events_are_tried_and_then_all_are_handled(
    desk: Desk, options: dict[str, Any], dead: int
) -> None:
    service = Service(ConnectionRefusedError("no route"), **options)
    dispatcher = desk.dispatcher(service.subscriber)
    queue = Queue(desk, dispatcher)
    queue.put(*(f"e{at}" for at in range(200)))

    await queue.pass_time(600)
    down = (service.calls, dispatcher.paused)
    service.error = None
    await queue.pass_time(120)

    assert down[0] < 60
    assert down[1]
    assert not dispatcher.paused
    assert (queue.ends["ack"], queue.ends["dead"]) == (200 - dead, dead)


async def test_a_pause_with_a_prefetch_of_one_goes_on(desk: Desk) -> None:
    """wolverine#2078: paused while it requeues, with a prefetch of 1, it waits for itself."""
    service = Service(TimeoutError(), concurrency=1)
    dispatcher = desk.dispatcher(service.subscriber)
    queue = Queue(desk, dispatcher, prefetch=1)
    queue.put(*(f"e{at}" for at in range(30)))
    await queue.pass_time(300)
    paused = dispatcher.paused

    service.error = None
    await queue.pass_time(120)

    assert paused
    assert (queue.ends["ack"], dispatcher.in_flight) == (30, 0)


@pytest.mark.parametrize("error", [KeyError("id"), RuntimeError("a bug")])
async def test_a_handler_that_can_never_succeed_ends_all_its_events_in_dead_letters(
    desk: Desk, error: Exception
) -> None:
    service = Service(error)
    queue = Queue(desk, desk.dispatcher(service.subscriber))
    queue.put(*(f"e{at}" for at in range(100)))

    await queue.pass_time(600)

    assert queue.ends["dead"] == 100
    assert queue.attempts == dict.fromkeys(range(1, 6), 100)


async def test_a_few_events_that_fail_are_tried_as_often_as_their_policy_says(desk: Desk) -> None:
    service = Service(ConnectionError(), retry=Retry(max_attempts=3))
    queue = Queue(desk, desk.dispatcher(service.subscriber))
    queue.put(*(f"e{at}" for at in range(9)))

    await queue.pass_time(1)

    assert queue.ends == {"retry": 18, "dead": 9}


async def test_one_event_that_never_gets_an_answer_is_dead_lettered_among_many_that_do(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        if ctx.event.id == "e7":
            raise TimeoutError

    dispatcher = desk.dispatcher(note)
    queue = Queue(desk, dispatcher)
    queue.put(*(f"e{at}" for at in range(200)))

    await queue.pass_time(120)

    assert (queue.ends["ack"], queue.ends["dead"], dispatcher.paused) == (199, 1, False)


async def test_draining_while_it_is_paused_gives_back_what_waits(desk: Desk) -> None:
    service = Service(ConnectionError())
    dispatcher = desk.dispatcher(service.subscriber)
    await desk.dispatch(dispatcher, *(Handed(order(f"e{at}")) for at in range(10)))
    waiting = Handed(order("waiting"))
    await desk.dispatch(dispatcher, waiting)

    await dispatcher.drain(30)

    assert waiting.settled == [("release",)]
    assert desk.clock.next_due_s() is None


async def test_a_reload_while_it_is_paused_counts_from_the_next_event(desk: Desk) -> None:
    service = Service(ConnectionError())
    dispatcher = desk.dispatcher(service.subscriber)
    queue = Queue(desk, dispatcher)
    queue.put(*(f"e{at}" for at in range(50)))
    await queue.pass_time(1)

    fixed = Service(ConnectionError())
    fixed.error = None
    dispatcher.subscriber = fixed.subscriber
    await queue.pass_time(120)

    assert (queue.ends["ack"], dispatcher.paused) == (50, False)


async def test_a_probe_that_is_cut_off_leaves_room_for_the_next_one(desk: Desk) -> None:
    gate = asyncio.Event()

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced) -> None:
        if event.id == "slow":
            await gate.wait()
            raise asyncio.CancelledError
        raise ConnectionError

    dispatcher = desk.dispatcher(note)
    await desk.dispatch(dispatcher, *(Handed(order(f"e{at}")) for at in range(10)))
    probe, again = Handed(order("probe", b'{"id": "slow"}'), lost=True), Handed(order("next"))
    await desk.dispatch(dispatcher, probe, again)
    desk.clock.advance(timedelta(seconds=1))
    await desk.settle()
    meanwhile = list(again.settled)

    gate.set()
    await desk.settle()
    desk.clock.advance(timedelta(seconds=2))
    await desk.settle()

    assert (meanwhile, probe.settled) == ([], [])
    assert again.settled[0][0] == "retry"


async def test_its_failures_are_not_counted_while_it_is_paused(desk: Desk, log: list[dict[str, Any]]) -> None:
    service = Service(ConnectionError("down"), retry=Retry(max_attempts=1))
    dispatcher = desk.dispatcher(service.subscriber)

    deliveries = [Handed(order(f"e{at}")) for at in range(10)]
    await desk.dispatch(dispatcher, *deliveries)

    assert [each.settled[0][0] for each in deliveries] == ["dead"] * 9 + ["retry"]
    assert deliveries[-1].settled[0][1:3] == (1.0, 1)
    assert [line["outcome"] for line in log if line["event"] == "event_retried"] == ["postponed"]
