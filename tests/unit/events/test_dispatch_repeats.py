"""One event is handled once, however often it is delivered."""

import asyncio
from typing import Any

from daemon.errors import StoreUnavailableError
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.store.memory import MemoryStore
from daemon.store.writes import RecordHandled
from tests.unit.events.conftest import Desk, Handed, order
from tests.unit.events.orders import OrderNoted, OrderPlaced


class Gated:
    """A subscriber whose handlers wait for `gate`."""

    def __init__(self, **options: Any) -> None:
        self.gate = asyncio.Event()
        self.began: list[str] = []
        self.peak = self.inside = 0

        @subscriber(OrderPlaced, id="note-order", **options)
        async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
            self.began.append(ctx.event.id)
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            try:
                await self.gate.wait()
            finally:
                self.inside -= 1

        self.subscriber = note


# --- repeats ---


async def test_a_redelivery_of_a_running_event_is_adopted_and_shares_its_end(desk: Desk) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)
    first, again = Handed(order()), Handed(order(), redelivered=True)
    await desk.dispatch(dispatcher, first, again)

    gated.gate.set()
    await desk.settle()

    assert gated.began == ["e1"]
    assert (first.settled, again.settled) == ([("ack",)], [("ack",)])


async def test_of_several_deliveries_of_a_failed_event_only_the_newest_is_retried(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced) -> None:
        await asyncio.sleep(0)
        raise ValueError

    first, again = Handed(order()), Handed(order())
    await desk.dispatch(desk.dispatcher(note), first, again)

    assert first.settled == [("ack",)]
    assert again.settled[0][0] == "retry"


async def test_an_event_that_comes_again_after_its_end_is_acknowledged_without_running(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    gated = Gated()
    gated.gate.set()
    dispatcher = desk.dispatcher(gated.subscriber)
    await desk.dispatch(dispatcher, Handed(order()))

    again = Handed(order(), redelivered=True)
    await desk.dispatch(dispatcher, again)

    assert gated.began == ["e1"]
    assert again.settled == [("ack",)]
    assert [line["outcome"] for line in log] == ["ok", "duplicate"]


async def test_an_event_that_another_process_handled_is_acknowledged_without_running(desk: Desk) -> None:
    await desk.store.commit(RecordHandled("shop", "note-order", "till", "order.placed", "e1", 0))
    gated = Gated()

    delivery = Handed(order())
    await desk.dispatch(desk.dispatcher(gated.subscriber), delivery)

    assert gated.began == []
    assert delivery.settled == [("ack",)]


async def test_an_event_that_another_process_handled_meanwhile_emits_nothing_here(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.emit(OrderNoted(id=event.id))
        await desk.store.commit(RecordHandled("shop", "note-order", "till", "order.placed", "e1", 0))

    delivery = Handed(order())
    await desk.dispatch(desk.dispatcher(note), delivery)

    assert delivery.settled == [("ack",)]
    assert await desk.emitted() == []


async def test_the_same_id_under_another_name_or_source_is_another_event(desk: Desk) -> None:
    seen = []

    @subscriber("order.#", id="note-order")
    async def note(event: dict[str, Any], ctx: SubscriberContext) -> None:
        seen.append((ctx.event.source, ctx.event.name))

    dispatcher = desk.dispatcher(note)
    await desk.dispatch(
        dispatcher,
        Handed(order("e1")),
        Handed(order("e1", source="web")),
        Handed(order("e1", name="order.paid")),
    )

    assert seen == [("till", "order.placed"), ("web", "order.placed"), ("till", "order.paid")]


async def test_another_body_is_told_by_a_process_that_never_saw_the_first(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    gated = Gated()
    gated.gate.set()
    await desk.dispatch(desk.dispatcher(gated.subscriber), Handed(order()))
    await desk.dispatch(desk.dispatcher(gated.subscriber), Handed(order()))
    before = [line["event"] for line in log].count("event_differs")

    await desk.dispatch(desk.dispatcher(gated.subscriber), Handed(order(body=b'{"id": "other"}')))

    (line,) = [line for line in log if line["event"] == "event_differs"]
    assert before == 0
    assert gated.began == ["e1"]
    assert (line["subscriber"], line["event_id"]) == ("note-order", "e1")


async def test_two_bodies_under_one_identity_are_logged_and_the_first_counts(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)
    await desk.dispatch(dispatcher, Handed(order()), Handed(order(body=b'{"id": "other"}')))
    gated.gate.set()
    await desk.settle()
    await desk.dispatch(dispatcher, Handed(order(body=b'{"id": "third"}')))

    assert gated.began == ["e1"]
    assert [line["event"] for line in log].count("event_differs") == 2


async def test_a_dead_lettered_event_runs_when_it_is_replayed(desk: Desk) -> None:
    seen = []

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced) -> None:
        seen.append(event.id)

    dispatcher = desk.dispatcher(note)
    await desk.dispatch(dispatcher, Handed(order(body=b"{}")))
    await desk.dispatch(dispatcher, Handed(order()))

    assert seen == ["o1"]


# --- concurrency and shutdown ---


async def test_no_more_handlers_run_than_the_concurrency_allows(desk: Desk) -> None:
    gated = Gated(concurrency=3)
    deliveries = [Handed(order(f"e{at}")) for at in range(10)]
    dispatcher = desk.dispatcher(gated.subscriber)

    await desk.dispatch(dispatcher, *deliveries)
    waiting = (len(gated.began), dispatcher.in_flight)
    gated.gate.set()
    await desk.settle()
    await desk.settle()

    assert waiting == (3, 10)
    assert (gated.peak, dispatcher.in_flight) == (3, 0)
    assert gated.began == [f"e{at}" for at in range(10)]
    assert all(delivery.settled == [("ack",)] for delivery in deliveries)


async def test_draining_releases_what_waits_and_lets_end_what_runs(desk: Desk) -> None:
    gated = Gated(concurrency=1)
    running, waiting = Handed(order("e1")), Handed(order("e2"))
    dispatcher = desk.dispatcher(gated.subscriber)
    await desk.dispatch(dispatcher, running, waiting)

    draining = asyncio.create_task(dispatcher.drain(30))
    await desk.settle()
    late = Handed(order("e3"))
    await desk.dispatch(dispatcher, late)
    half = (list(running.settled), list(waiting.settled), list(late.settled), draining.done())
    gated.gate.set()
    await draining

    assert half == ([], [("release",)], [("release",)], False)
    assert running.settled == [("ack",)]


async def test_what_outlasts_the_grace_period_is_cancelled_and_goes_back_as_it_was(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    gated = Gated()
    delivery = Handed(order(), attempt=4)
    dispatcher = desk.dispatcher(gated.subscriber)
    await desk.dispatch(dispatcher, delivery)

    draining = asyncio.create_task(dispatcher.drain(0))
    await desk.settle()
    desk.clock._fire_until(0)
    await draining

    assert delivery.settled == [("release",)]
    assert await desk.store.handled("shop", "note-order", "till", "order.placed", "e1") is None
    assert (log[0]["event"], log[0]["outcome"], log[0]["attempt"]) == ("event_handled", "cancelled", 4)


class AwayStore(MemoryStore):
    """A store that is away for a while."""

    away = 0

    async def handled(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> bytes | None:
        if self.away > 0:
            self.away -= 1
            raise StoreUnavailableError("the disk is full")
        return await super().handled(app, subscriber, source, event_name, event_id)


async def test_a_store_that_is_away_is_waited_for(desk: Desk) -> None:
    store = AwayStore(desk.clock)
    store.away = 3
    gated = Gated()
    gated.gate.set()
    delivery = Handed(order())

    await desk.dispatch(desk.dispatcher(gated.subscriber, store=store), delivery)
    before = list(gated.began)
    for _ in range(3):
        due_s = desk.clock.next_due_s()
        assert due_s is not None
        desk.clock._fire_until(desk.clock._elapsed_us + round(due_s * 1_000_000))
        await desk.settle()

    assert before == []
    assert delivery.settled == [("ack",)]
