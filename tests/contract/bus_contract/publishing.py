"""What every bus promises of publishing: who gets an event, and how it arrives."""

from datetime import UTC, datetime

from daemon.events.bus import Subscription
from daemon.events.model import Envelope, Message
from tests.contract.bus_contract.world import BusWorld, claim, consume, message, place


@claim
async def an_event_reaches_every_subscriber_that_wants_it_and_no_other(world: BusWorld) -> None:
    bus = await world.bus()
    first, _ = await consume(bus, "first")
    second, _ = await consume(bus, "second", "order.placed", "order.paid")
    other, _ = await consume(bus, "other", "order.paid")

    await bus.send(message("order.placed", b'{"id":"o1"}', "o1"))
    await bus.send(message("order.paid", b"{}", "last"))

    for name, inbox in (("first", first), ("second", second)):
        delivery = await inbox.next()
        assert (delivery.message.envelope.name, delivery.message.envelope.id) == ("order.placed", "o1")
        assert (delivery.subscriber, delivery.message.body) == (name, b'{"id":"o1"}')
        assert (delivery.attempt, delivery.redelivered, delivery.crashes) == (1, False, 0)
    assert (await other.next()).message.envelope.id == "last"


@claim
async def patterns_match_as_in_a_topic_exchange(world: BusWorld) -> None:
    bus = await world.bus()
    one, _ = await consume(bus, "one-word", "order.*")
    many, _ = await consume(bus, "many-words", "order.#")
    everything, _ = await consume(bus, "everything", "#")

    await bus.send(message("order.placed", b"{}", "two-words"))
    await bus.send(message("order.note.printed", b"{}", "three-words"))
    await bus.send(message("order.paid", b"{}", "last"))

    assert await one.ids(2) == ["two-words", "last"]
    assert await many.ids(3) == ["two-words", "three-words", "last"]
    assert await everything.ids(3) == ["two-words", "three-words", "last"]


@claim
async def one_subscriber_gets_an_event_once_however_many_of_its_patterns_match(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "twice", "order.placed", "order.*")

    await place(bus, "o1", "o2")

    assert await inbox.ids(2) == ["o1", "o2"]


@claim
async def the_envelope_arrives_as_it_was_sent(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    envelope = Envelope(
        id="café-1",
        name="order.placed",
        time=datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC),
        source="till",
        correlation_id="c1",
        causation_id="e0",
        headers={"tenant": "north", "shard": 7},
    )

    await bus.send(Message(envelope, b'{"id": "caf\xc3\xa9"}'))

    arrived = (await inbox.next()).message
    assert arrived.body == b'{"id": "caf\xc3\xa9"}'
    assert (arrived.envelope.id, arrived.envelope.name, arrived.envelope.source) == ("café-1", "order.placed", "till")
    assert arrived.envelope.time == envelope.time
    assert (arrived.envelope.correlation_id, arrived.envelope.causation_id) == ("c1", "e0")
    assert envelope.headers.items() <= arrived.envelope.headers.items()


@claim
async def sending_tells_whether_a_queue_was_bound(world: BusWorld) -> None:
    bus = await world.bus()
    await bus.declare([Subscription("reader", ("order.placed",), prefetch=1)])

    wanted = await bus.send(message("order.placed", b"{}", "e1"))
    unwanted = await bus.send(message("order.lost", b"{}", "e2"))

    assert (wanted, unwanted) == (True, False)


@claim
async def what_is_published_while_nobody_consumes_waits(world: BusWorld) -> None:
    publisher = await world.bus()
    await publisher.declare([Subscription("reader", ("order.placed",), prefetch=1)])
    await place(publisher, "o1", "o2", "o3")

    inbox, _ = await consume(await world.bus(), "reader")

    assert await inbox.ids(3) == ["o1", "o2", "o3"]


@claim
async def another_process_publishes_to_an_idle_consumer(world: BusWorld) -> None:
    inbox, _ = await consume(await world.bus(), "reader")
    publisher = await world.bus()

    await place(publisher, "o1")

    assert await inbox.ids(1) == ["o1"]


@claim
async def a_payload_that_is_no_json_is_carried_as_it_is(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    bodies = [b"", b"\x00\xff\xfe", b"{", b"[" * 100_000, b"null", b'"' + b"x" * 1_000_000 + b'"']

    for at, body in enumerate(bodies):
        await bus.send(message("order.placed", body, f"e{at}"))

    assert [(await inbox.next()).message.body for _ in bodies] == bodies
