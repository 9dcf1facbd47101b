"""What a handler is given, and what is so once it has returned."""

from typing import Any

from daemon.activation import current_activation
from daemon.events.subscriber import SubscriberContext, subscriber
from tests.unit.events.conftest import Connection, Desk, Handed, is_handled, order
from tests.unit.events.orders import OrderPlaced


async def test_an_event_whose_handler_returns_is_acknowledged_and_known_as_handled(
    desk: Desk, log: list[dict[str, Any]]
) -> None:
    seen = []

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        seen.append((event.id, ctx.event.id, ctx.attempt, ctx.options["greeting"]))
        ctx.log.info("noted")

    delivery = Handed(order(), attempt=2)
    await desk.dispatch(desk.dispatcher(note), delivery)

    assert seen == [("o1", "e1", 2, "Hello")]
    assert delivery.settled == [("ack",)]
    assert await is_handled(desk)
    (noted, line) = log
    ids = {"subscriber": "note-order", "event_id": "e1", "event_name": "order.placed", "attempt": 2}
    assert ids.items() <= noted.items()
    assert (ids | {"event": "event_handled", "outcome": "ok", "level": "info"}).items() <= line.items()


async def test_a_handler_that_takes_the_event_alone_gets_that(desk: Desk) -> None:
    seen = []

    @subscriber("order.*", id="note-order")
    async def note(event: dict[str, Any]) -> None:
        seen.append(event)

    await desk.dispatch(desk.dispatcher(note), Handed(order()))

    assert seen == [{"id": "o1"}]


async def test_the_services_of_a_handling_are_closed_before_its_event_is_settled(desk: Desk) -> None:
    connections: list[Connection] = []

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        connections.append(await ctx.container.aget(Connection))
        if event.id == "bad":
            raise ValueError

    class Watching(Handed):
        async def ack(self) -> bool:
            self.settled.append(connections[-1].closed)
            return True

    dispatcher = desk.dispatcher(note)
    returned = Watching(order("e1"))
    await desk.dispatch(dispatcher, returned)
    await desk.dispatch(dispatcher, Handed(order("e2", b'{"id": "bad"}')))

    assert returned.settled == [True]
    assert connections[0] is not connections[1]
    assert connections[1].closed


async def test_a_run_that_is_started_in_a_handler_has_the_same_id_in_every_attempt(desk: Desk) -> None:
    ids = []

    @subscriber(OrderPlaced, id="note-order")
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        activation = current_activation()
        assert activation is not None
        assert activation.trigger.correlation_id == "c0"
        assert (activation.trigger.kind, activation.trigger.name, activation.trigger.id) == (
            "event",
            "note-order",
            "e1",
        )
        ids.append(activation.next_run_id("ship"))
        raise ValueError

    dispatcher = desk.dispatcher(note)
    await desk.dispatch(dispatcher, Handed(order(), attempt=1))
    await desk.dispatch(dispatcher, Handed(order(), attempt=2))

    assert len(ids) == 2
    assert len(set(ids)) == 1
