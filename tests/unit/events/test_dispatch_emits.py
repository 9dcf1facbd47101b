"""What a handler emits: staged with its event's end, as caused by it, under the same ids when it is repeated."""

from dataclasses import replace
from typing import Any

from daemon.events.model import unpack
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.trace import Trace
from tests.unit.events.conftest import Desk, Handed, order
from tests.unit.events.orders import OrderNoted, OrderPlaced


async def test_what_a_handler_emits_is_staged_when_it_returns_as_caused_by_its_event(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        noted = OrderNoted(id="n1")
        ctx.emit(noted)
        noted.id = "changed"
        ctx.emit(OrderNoted(id="n2"))
        assert await desk.emitted() == []

    await desk.dispatch(desk.dispatcher(note), Handed(order()))

    staged = await desk.emitted()
    messages = [unpack(event.message) for event in staged]
    assert [message.body for message in messages] == [b'{"id":"n1"}', b'{"id":"n2"}']
    envelope = messages[0].envelope
    assert (envelope.name, envelope.source) == ("order.noted", "shop")
    assert (envelope.correlation_id, envelope.causation_id) == ("c0", "e1")
    assert [event.id for event in staged] == [message.envelope.id for message in messages]
    assert desk.pokes == 1


async def test_what_a_handler_emits_and_logs_belongs_to_the_trace_of_its_event(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.log.info("noting")
        ctx.emit(OrderNoted(id=event.id))

    message = order()
    traced = replace(
        message, envelope=replace(message.envelope, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"})
    )
    await desk.dispatch(desk.dispatcher(note), Handed(traced), Handed(order("e2")))

    sent = [unpack(event.message).envelope.headers for event in await desk.emitted()]
    begun = Trace.of({}, "till", "order.placed", "e2").id
    assert [(trace.id, trace.sampled) for each in sent if (trace := Trace.given(each))] == [
        ("a" * 32, False),
        (begun, True),
    ]
    ids = {(line["event_id"], line["trace_id"]) for line in log}
    assert ids == {("e1", "a" * 32), ("e2", begun)}
    assert {line["event"] for line in log} == {"noting", "event_handled"}


async def test_what_a_failing_handler_emitted_is_dropped_but_for_what_was_emitted_immediately(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.emit(OrderNoted(id="later"))
        ctx.emit(OrderNoted(id="now"), immediately=True)
        raise ValueError

    await desk.dispatch(desk.dispatcher(note), Handed(order()))

    (staged,) = await desk.emitted()
    assert unpack(staged.message).body == b'{"id":"now"}'
    assert desk.pokes == 1


async def test_an_attempt_that_is_repeated_after_a_crash_emits_under_the_same_ids(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.emit(OrderNoted(id="now"), immediately=True)
        raise ValueError

    for attempt in (1, 1, 2):
        await desk.dispatch(desk.dispatcher(note), Handed(order(), attempt=attempt))

    assert len(await desk.emitted()) == 2


async def test_what_is_emitted_can_be_kept_as_it_is_by_a_database_that_cannot_keep_nul(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.emit(OrderNoted(id=event.id))

    await desk.dispatch(desk.dispatcher(note), Handed(order()))

    (staged,) = await desk.emitted()
    assert "\0" not in f"{staged.id}{staged.app}{staged.origin}"


async def test_an_event_that_is_too_large_is_refused_where_it_is_emitted(desk: Desk) -> None:
    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        ctx.emit(OrderNoted(id="x" * 2_000))

    delivery = Handed(order())
    await desk.dispatch(desk.dispatcher(note, max_payload_bytes=1_000), delivery)

    assert "PayloadTooLargeError: event 'order.noted' is 2,009 bytes" in delivery.settled[0][3]
    assert await desk.emitted() == []
