"""What becomes of events that another process took over, because this one counted as dead for a while."""

import asyncio
from typing import Any

from daemon.activation import current_activation
from daemon.events.subscriber import SubscriberContext, subscriber
from tests.unit.events.conftest import Desk, Handed, order
from tests.unit.events.orders import OrderNoted, OrderPlaced


class Gated:
    """A subscriber whose handlers wait for `gate`; `ended` tells how, `deferring` whether starts of runs may wait."""

    def __init__(self, **options: Any) -> None:
        self.gate = asyncio.Event()
        self.ended: list[tuple[str, str]] = []
        self.deferring: list[bool] = []

        @subscriber(OrderPlaced, id="note-order", **options)
        async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.ended.append((ctx.event.id, "cancelled"))
                raise
            activation = current_activation()
            self.deferring.append(activation is not None and activation.may_defer)
            self.ended.append((ctx.event.id, "done"))
            ctx.emit(OrderNoted(id=event.id))

        self.subscriber = note


async def test_a_handler_is_cancelled_whose_event_another_process_has(desk: Desk, log: list[dict[str, Any]]) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)
    taken, kept = Handed(order("e1"), lost=True), Handed(order("e2"))
    await desk.dispatch(dispatcher, taken, kept)

    dispatcher.confirm({taken})
    await desk.settle()
    gated.gate.set()
    await desk.settle()

    assert gated.ended == [("e1", "cancelled"), ("e2", "done")]
    assert (taken.settled, kept.settled) == ([], [("ack",)])
    assert [(line["event_id"], line["outcome"]) for line in log] == [("e1", "taken_over"), ("e2", "ok")]
    assert log[0]["reason"] == "another process has this event: our lease had run out"
    assert len(await desk.emitted()) == 1
    assert dispatcher.in_flight == 0


async def test_an_event_that_was_taken_over_is_handled_when_it_comes_here_again(desk: Desk) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)
    taken, again = Handed(order(), lost=True), Handed(order(), redelivered=True)
    await desk.dispatch(dispatcher, taken)
    dispatcher.confirm({taken})
    await desk.settle()

    gated.gate.set()
    await desk.dispatch(dispatcher, again)

    assert gated.ended == [("e1", "cancelled"), ("e1", "done")]
    assert again.settled == [("ack",)]


async def test_what_waits_is_not_begun_if_another_process_has_it(desk: Desk, log: list[dict[str, Any]]) -> None:
    gated = Gated(concurrency=1)
    dispatcher = desk.dispatcher(gated.subscriber)
    running, taken, kept = (Handed(order(id)) for id in ("e1", "e2", "e3"))
    await desk.dispatch(dispatcher, running, taken, kept)

    dispatcher.confirm({taken})
    gated.gate.set()
    await desk.settle()

    assert gated.ended == [("e1", "done"), ("e3", "done")]
    assert taken.settled == [("release",)]
    assert [line["event_id"] for line in log] == ["e1", "e3"]


async def test_a_handler_goes_on_that_has_a_delivery_which_is_still_ours(desk: Desk) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)
    taken, ours = Handed(order(), lost=True), Handed(order(), redelivered=True)
    await desk.dispatch(dispatcher, taken, ours)

    dispatcher.confirm({taken})
    gated.gate.set()
    await desk.settle()

    assert gated.ended == [("e1", "done")]
    assert ours.settled == [("ack",)]


async def test_a_handler_that_ends_although_it_was_cancelled_has_handled_its_event(desk: Desk) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        began.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ctx.emit(OrderNoted(id=event.id))

    dispatcher = desk.dispatcher(note)
    taken = Handed(order(), lost=True)
    await desk.dispatch(dispatcher, taken)
    dispatcher.confirm({taken})
    await desk.settle()

    again = Handed(order(), redelivered=True)
    await desk.dispatch(dispatcher, again)

    assert again.settled == [("ack",)]
    assert len(await desk.emitted()) == 1


async def test_what_is_being_settled_is_not_held_up(desk: Desk, log: list[dict[str, Any]]) -> None:
    class Slow(Handed):
        answered = asyncio.Event()

        async def ack(self) -> bool:
            await self.answered.wait()
            return await super().ack()

    gated = Gated()
    gated.gate.set()
    dispatcher = desk.dispatcher(gated.subscriber)
    delivery = Slow(order())
    await desk.dispatch(dispatcher, delivery)

    dispatcher.confirm({delivery})
    Slow.answered.set()
    await desk.settle()

    assert delivery.settled == [("ack",)]
    assert [line["outcome"] for line in log] == ["ok"]


async def test_starts_of_runs_wait_for_their_first_step_only_where_no_other_process_may_be_at_the_event(
    desk: Desk,
) -> None:
    gated = Gated()
    dispatcher = desk.dispatcher(gated.subscriber)

    await desk.dispatch(dispatcher, Handed(order("e1")))
    dispatcher.confirm(set())
    await desk.dispatch(dispatcher, Handed(order("e2")), Handed(order("e3"), redelivered=True))
    gated.gate.set()
    await desk.settle()

    assert gated.ended == [("e1", "done"), ("e2", "done"), ("e3", "done")]
    assert gated.deferring == [False, True, False]
