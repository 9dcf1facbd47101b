"""A verdict that the broker did not learn of is kept, and its event is settled by it when it comes again."""

from typing import Any

import pytest

from daemon.errors import Reject
from daemon.events.dispatch import Dispatcher
from daemon.events.model import Event
from daemon.events.recall import KEPT_MIN
from daemon.events.subscriber import Subscriber, subscriber
from tests.unit.events.conftest import Desk, Handed, order


class OrderPlaced(Event, name="order.placed"):
    id: str


class Failing:
    """A subscriber that fails every time."""

    def __init__(self, error: Exception, **options: Any) -> None:
        self.runs = 0

        @subscriber(OrderPlaced, id="note-order", **options)
        async def note(event: OrderPlaced) -> None:
            self.runs += 1
            raise error

        self.subscriber: Subscriber[OrderPlaced] = note


async def at_rest(desk: Desk, dispatcher: Dispatcher) -> None:
    """Return when everything is settled."""
    while dispatcher.in_flight:
        await desk.settle()


@pytest.mark.parametrize(
    ("error", "end"), [(ValueError("E"), ("retry", 1.0, 2, "ValueError: E")), (Reject("no"), ("dead", "rejected"))]
)
async def test_a_redelivery_of_an_event_whose_verdict_was_lost_is_settled_by_it_without_running(
    desk: Desk, log: list[dict[str, Any]], error: Exception, end: tuple[Any, ...]
) -> None:
    """celery#4671: after a restart of the broker the task runs twice."""
    failing = Failing(error)
    dispatcher = desk.dispatcher(failing.subscriber)
    again = Handed(order(), redelivered=True)

    await desk.dispatch(dispatcher, Handed(order(), lost=True))
    await desk.dispatch(dispatcher, again)

    assert failing.runs == 1
    assert again.settled[0][: len(end)] == end
    assert [line["event"] for line in log if line["level"] == "info"] == [log[0]["event"]]


async def test_a_verdict_that_is_lost_again_is_kept_again(desk: Desk) -> None:
    failing = Failing(ValueError("E"))
    dispatcher = desk.dispatcher(failing.subscriber)
    third = Handed(order(), redelivered=True)

    for delivery in (Handed(order(), lost=True), Handed(order(), redelivered=True, lost=True), third):
        await desk.dispatch(dispatcher, delivery)

    assert (failing.runs, third.settled[0][0]) == (1, "retry")


async def test_a_verdict_that_took_effect_is_not_kept(desk: Desk) -> None:
    failing = Failing(ValueError("E"))
    dispatcher = desk.dispatcher(failing.subscriber)

    await desk.dispatch(dispatcher, Handed(order()))
    await desk.dispatch(dispatcher, Handed(order(), redelivered=True))

    assert failing.runs == 2


async def test_a_kept_verdict_is_not_for_a_later_attempt(desk: Desk) -> None:
    failing = Failing(ValueError("E"))
    dispatcher = desk.dispatcher(failing.subscriber)

    await desk.dispatch(dispatcher, Handed(order(), lost=True))
    await desk.dispatch(dispatcher, Handed(order(), attempt=2, redelivered=True))

    assert failing.runs == 2


async def test_a_kept_verdict_is_not_for_a_replay_nor_for_what_comes_after_it(desk: Desk) -> None:
    failing = Failing(Reject("no"))
    dispatcher = desk.dispatcher(failing.subscriber)

    await desk.dispatch(dispatcher, Handed(order(), lost=True))
    await desk.dispatch(dispatcher, Handed(order()))
    await desk.dispatch(dispatcher, Handed(order(), redelivered=True))

    assert failing.runs == 3


async def test_what_went_back_in_a_shutdown_has_no_verdict_to_keep(desk: Desk) -> None:
    failing = Failing(ValueError("E"))
    dispatcher = desk.dispatcher(failing.subscriber)
    dispatcher.cancel()
    waiting = Handed(order(), lost=True)

    await desk.dispatch(dispatcher, waiting)

    assert (failing.runs, waiting.settled) == (0, [])


@pytest.mark.parametrize(("prefetch", "kept"), [(20, KEPT_MIN), (100, 200)])
async def test_as_many_verdicts_are_kept_as_can_come_again(desk: Desk, prefetch: int, kept: int) -> None:
    failing = Failing(ValueError("E"))
    dispatcher = desk.dispatcher(failing.subscriber, prefetch=prefetch)
    for at in range(kept + 1):
        dispatcher.receive(Handed(order(f"e{at}"), lost=True))
    await at_rest(desk, dispatcher)

    first = failing.runs
    await desk.dispatch(dispatcher, *(Handed(order(f"e{at}"), redelivered=True) for at in range(kept, 0, -1)))
    await at_rest(desk, dispatcher)
    remembered = failing.runs - first
    await desk.dispatch(dispatcher, Handed(order("e0"), redelivered=True))

    assert (first, remembered, failing.runs) == (kept + 1, 0, kept + 2)
