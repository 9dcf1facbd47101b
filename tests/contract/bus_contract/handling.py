"""What every bus promises together with what dispatches to handlers."""

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.model import Event, Message
from daemon.events.subscriber import SubscriberContext, subscriber
from daemon.retry import Retry
from daemon.store.memory import MemoryStore
from tests.contract.bus_contract.world import BusWorld, claim, message, until


class OrderPlaced(Event, name="order.placed"):
    """What `handled_by` handles."""

    id: str


def handled_by(seen: list[str], failing: set[str] | None = None) -> Dispatcher:
    """Return a dispatcher whose handler notes the events' ids, and raises at those that are `failing`."""

    @subscriber(OrderPlaced, id="reader", retry=Retry(max_attempts=2))
    async def note(event: OrderPlaced, ctx: SubscriberContext) -> None:
        seen.append(ctx.event.id)
        if failing and ctx.event.id in failing:
            raise ValueError("not today")

    clock = SystemClock()
    around = Surroundings("shop", MemoryStore(clock), clock, Services([]).handler_container, poke=lambda: None)
    return Dispatcher(note, around, options={})


def placed(id: str) -> Message:
    """Return an order that a handler takes."""
    return message("order.placed", b'{"id": "o"}', id)


@claim
async def an_event_that_is_sent_twice_with_one_id_is_handled_once(world: BusWorld) -> None:
    bus = await world.bus()
    seen: list[str] = []
    dispatcher = handled_by(seen)
    await bus.declare([dispatcher.subscriber.subscription(20)])
    await bus.subscribe(dispatcher.subscriber.subscription(20), dispatcher.receive)

    for id in ("e1", "e1", "e2", "e1", "e3"):
        await bus.send(placed(id))
    await until(lambda: "e3" in seen and dispatcher.in_flight == 0)

    assert sorted(seen) == ["e1", "e2", "e3"]


@claim
async def what_no_handler_can_take_is_dead_lettered_and_costs_the_next_one_nothing(world: BusWorld) -> None:
    bus = await world.bus()
    seen: list[str] = []
    dispatcher = handled_by(seen)
    await bus.declare([dispatcher.subscriber.subscription(20)])
    await bus.subscribe(dispatcher.subscriber.subscription(20), dispatcher.receive)

    for at, body in enumerate((b"", b"\x00\xff", b"{", b"[" * 100_000, b"[]", b'{"id": 7}')):
        await bus.send(message("order.placed", body, f"bad-{at}"))
    await bus.send(placed("good"))
    await until(lambda: seen and dispatcher.in_flight == 0)

    letters = {letter.event_id: letter.reason for letter in await bus.dead_letters("reader", limit=10)}
    assert seen == ["good"]
    assert letters == {f"bad-{at}": "undecodable" if at < 4 else "invalid_payload" for at in range(6)}


@claim
async def a_dead_letter_that_is_replayed_is_handled(world: BusWorld) -> None:
    bus = await world.bus()
    seen: list[str] = []
    failing = {"e1"}
    dispatcher = handled_by(seen, failing)
    await bus.declare([dispatcher.subscriber.subscription(20)])
    await bus.subscribe(dispatcher.subscriber.subscription(20), dispatcher.receive)
    await bus.send(placed("e1"))

    async def buried() -> bool:
        return [letter.attempts for letter in await bus.dead_letters("reader", limit=10)] == [2]

    await until(buried)
    failing.clear()
    await bus.replay("reader")
    await until(lambda: len(seen) == 3 and dispatcher.in_flight == 0)

    assert seen == ["e1", "e1", "e1"]
    assert await bus.dead_letters("reader", limit=10) == []
