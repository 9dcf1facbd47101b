"""What becomes of a delivery whose handler fails, or cannot even be called."""

import asyncio
import sys
from datetime import timedelta
from typing import Any

import pytest

from daemon.errors import Reject, RetryAfter, RunNotCompleted, StoreUnavailableError
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.retry import Retry
from tests.unit.events.conftest import Desk, Handed, is_handled, order
from tests.unit.events.orders import OrderPlaced

FEW = Retry(max_attempts=3, delay=timedelta(seconds=10), backoff=2, jitter=0.5, never_on=(KeyError,))


def raising(error: BaseException) -> Any:
    @subscriber(OrderPlaced, id="note-order", retry=FEW)
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        raise error

    return note


# --- the handler raises ---


async def test_a_handler_that_raises_is_tried_again_by_its_policy(desk: Desk, log: list[dict[str, Any]]) -> None:
    dispatcher = desk.dispatcher(raising(ValueError("no stock")), chance=lambda: 1.0)
    deliveries = [Handed(order(), attempt=1), Handed(order(), attempt=2)]

    for delivery in deliveries:
        await desk.dispatch(dispatcher, delivery)

    assert [delivery.settled for delivery in deliveries] == [
        [("retry", 5.0, 2, "ValueError: no stock")],
        [("retry", 10.0, 3, "ValueError: no stock")],
    ]
    assert not await is_handled(desk)
    line = {
        "event": "event_retried",
        "outcome": "retried",
        "error": "ValueError: no stock",
        "delay_s": 5.0,
        "attempt": 1,
    }
    assert line.items() <= log[0].items()


async def test_a_handler_that_raises_in_its_last_attempt_has_its_event_dead_lettered(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    delivery = Handed(order(), attempt=3)

    await desk.dispatch(desk.dispatcher(raising(ValueError("no stock"))), delivery)

    ((how, reason, error, traceback),) = delivery.settled
    assert (how, reason, error) == ("dead", "attempts_exhausted", "ValueError: no stock")
    assert traceback.startswith("Traceback (most recent call last)")
    assert traceback.endswith("ValueError: no stock\n")
    assert not await is_handled(desk)
    line = {
        "event": "event_dead_lettered",
        "reason": "attempts_exhausted",
        "error": "ValueError: no stock",
        "attempt": 3,
    }
    assert line.items() <= log[0].items()


async def test_a_traceback_keeps_its_end_when_it_is_too_long_and_holds_nothing_that_cannot_be_stored(
    desk: Desk,
) -> None:
    delivery = Handed(order(), attempt=3)

    await desk.dispatch(desk.dispatcher(raising(ValueError("\ud800\x00" + "é" * 20_000 + "end"))), delivery)

    ((_, _, error, traceback),) = delivery.settled
    assert len(traceback.encode()) <= 8_192
    assert traceback.endswith("éend\n")
    assert error.startswith("ValueError: \\ud800\\x00éé")
    assert len(error) <= 4_100


async def test_an_error_that_is_final_is_not_tried_again(desk: Desk) -> None:
    delivery = Handed(order(), attempt=1)

    await desk.dispatch(desk.dispatcher(raising(KeyError("sku"))), delivery)

    assert delivery.settled[0][:3] == ("dead", "attempts_exhausted", "KeyError: 'sku'")


async def test_a_rejected_event_is_dead_lettered_at_once(desk: Desk) -> None:
    delivery = Handed(order())

    await desk.dispatch(desk.dispatcher(raising(Reject("unknown customer"))), delivery)

    assert delivery.settled[0][:3] == ("dead", "rejected", "Reject: unknown customer")


async def test_an_event_that_is_asked_for_later_is_not_a_failure(desk: Desk, log: list[dict[str, Any]]) -> None:
    delivery = Handed(order(), attempt=3)

    await desk.dispatch(desk.dispatcher(raising(RetryAfter(timedelta(minutes=2)))), delivery)

    assert delivery.settled == [("retry", 120.0, 3, "RetryAfter: again in 120 s")]
    assert (log[0]["event"], log[0]["outcome"]) == ("event_retried", "postponed")


async def test_our_own_store_being_away_is_not_the_event_s_failure(desk: Desk) -> None:
    delivery = Handed(order(), attempt=3)

    await desk.dispatch(desk.dispatcher(raising(StoreUnavailableError("locked"))), delivery)

    assert delivery.settled[0][:3] == ("retry", 2.0, 3)


async def test_a_handler_whose_run_is_parked_has_accepted_its_event(desk: Desk, log: list[dict[str, Any]]) -> None:
    delivery = Handed(order())

    await desk.dispatch(desk.dispatcher(raising(RunNotCompleted("r1", "ship", "waiting"))), delivery)

    assert delivery.settled == [("ack",)]
    assert await is_handled(desk)
    assert (log[0]["event"], log[0]["outcome"], log[0]["run_id"]) == ("event_handled", "parked", "r1")


async def test_the_result_of_a_run_that_failed_is_a_failure(desk: Desk) -> None:
    delivery = Handed(order())

    await desk.dispatch(desk.dispatcher(raising(RunNotCompleted("r1", "ship", "failed"))), delivery)

    assert delivery.settled[0][0] == "retry"


async def test_a_handler_that_exits_ends_its_event_and_not_the_daemon(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order", retry=FEW)
    async def note(event: OrderPlaced) -> None:
        sys.exit(3)

    delivery = Handed(order())
    await desk.dispatch(desk.dispatcher(note), delivery)

    assert delivery.settled == [("retry", 10.0, 2, "SystemExit: 3")]


async def test_something_cancelled_inside_a_handler_is_a_failure_and_no_shutdown(desk: Desk) -> None:
    delivery = Handed(order())

    await desk.dispatch(desk.dispatcher(raising(asyncio.CancelledError())), delivery)

    ((how, _, attempt, error),) = delivery.settled
    assert (how, attempt) == ("retry", 2)
    assert "something that the handler awaited was cancelled" in error


async def test_a_handler_that_takes_too_long_is_cancelled_and_has_failed(desk: Desk) -> None:
    cleaned = []

    @subscriber(OrderPlaced, id="note-order", retry=FEW, timeout=timedelta(seconds=60))
    async def note(event: OrderPlaced) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(event.id)

    delivery = Handed(order())
    await desk.dispatch(desk.dispatcher(note), delivery)
    desk.clock.advance(timedelta(seconds=59))
    await desk.settle()
    before = list(delivery.settled)
    desk.clock.advance(timedelta(seconds=1))
    await desk.settle()

    assert before == []
    assert cleaned == ["o1"]
    assert delivery.settled == [("retry", 10.0, 2, "TimeoutError: subscriber 'note-order' did not end within 60 s")]


# --- payloads ---


async def test_a_payload_that_does_not_fit_is_dead_lettered_at_once_with_every_wrong_field(desk: Desk) -> None:
    delivery = Handed(order(body=b'{"total": "many"}'))

    await desk.dispatch(desk.dispatcher(raising(AssertionError("not called"))), delivery)

    ((how, reason, error, traceback),) = delivery.settled
    assert (how, reason, traceback) == ("dead", "invalid_payload", "")
    assert error.startswith(
        "The payload does not fit OrderPlaced: id: Field required; total: Input should be a valid int"
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"id": "\xff"}', b"[" * 100_000, b'{"id": NaN'], ids=lambda body: repr(body[:8])
)
@pytest.mark.parametrize("event", [OrderPlaced, "order.*"], ids=["model", "pattern"])
async def test_a_payload_that_is_no_json_is_undecodable(desk: Desk, body: bytes, event: Any) -> None:
    async def note(event: Any) -> None:
        raise AssertionError

    decorator: Any = subscriber(event, id="note-order")
    delivery = Handed(order(body=body))
    await desk.dispatch(desk.dispatcher(decorator(note)), delivery)

    assert delivery.settled[0][:2] == ("dead", "undecodable")


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'"text"', b"true"], ids=bytes.decode)
async def test_a_pattern_s_subscriber_refuses_what_is_no_object(desk: Desk, body: bytes) -> None:
    @subscriber("order.*", id="note-order")
    async def note(event: dict[str, Any]) -> None:
        raise AssertionError

    delivery = Handed(order(body=body))
    await desk.dispatch(desk.dispatcher(note), delivery)

    assert delivery.settled[0][:2] == ("dead", "invalid_payload")


async def test_a_payload_that_is_too_large_is_not_decoded(desk: Desk) -> None:
    delivery = Handed(order(body=b"[" * 1_000))

    await desk.dispatch(desk.dispatcher(raising(AssertionError()), max_payload_bytes=999), delivery)

    assert delivery.settled[0][:2] == ("dead", "too_large")
    assert "1,000 bytes; the limit is 999" in delivery.settled[0][2]


async def test_an_event_that_no_handler_takes_any_more_is_acknowledged(desk: Desk, log: list[dict[str, Any]]) -> None:
    delivery = Handed(order(name="order.renamed"))

    await desk.dispatch(desk.dispatcher(raising(AssertionError())), delivery)

    assert delivery.settled == [("ack",)]
    assert log[0]["outcome"] == "ignored"


async def test_an_event_that_never_ended_in_three_starts_is_dead_lettered_without_a_fourth(desk: Desk) -> None:
    delivery = Handed(order(), redelivered=True, crashes=3)

    await desk.dispatch(desk.dispatcher(raising(AssertionError())), delivery)

    assert delivery.settled == [("dead", "crashed", "It was started 3 times and never ended.", "")]
