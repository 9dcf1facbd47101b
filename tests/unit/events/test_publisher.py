"""What is published through the container's `EventBus`."""

import pytest

from daemon import Event, PayloadTooLargeError, Ref, StepContext, step, workflow
from daemon.activation import Activation, Trigger, activated
from daemon.clock import ManualClock
from daemon.events.embedded import EmbeddedBus
from daemon.events.embedded.rows import message_of_row
from daemon.events.model import Envelope, message_of
from daemon.events.publisher import EventBus
from daemon.store.memory import MemoryStore
from daemon.trace import Trace
from tests.contract.engine.processes import Process


class OrderPlaced(Event, name="order.placed"):
    number: int


class World:
    """A bus in memory with one queue, and the `EventBus` on it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        bus = EmbeddedBus(self.store, app="shop", owner="process-1", clock=self.clock)
        self.events = EventBus(bus, app="shop", clock=self.clock, max_payload_bytes=100)

    async def envelope(self) -> Envelope:
        """Return that of the one event on the queue."""
        (taken,) = await self.store.take("shop", "audit", "process-1", limit=10, now_us=self.clock.now_us())
        return message_of_row(taken).envelope


@pytest.fixture
async def world() -> World:
    """A world whose queue takes every event."""
    made = World()
    await made.store.bind("shop", "audit", ["#"])
    return made


async def test_an_event_of_nobody_begins_a_correlation(world: World) -> None:
    event_id = await world.events.publish(OrderPlaced(number=1), id="order-1")
    envelope = await world.envelope()

    assert event_id == "order-1"
    assert (envelope.id, envelope.name, envelope.source) == ("order-1", "order.placed", "shop")
    assert (envelope.correlation_id, envelope.causation_id) == ("order-1", None)


async def test_an_event_that_is_published_while_another_is_handled_names_it_as_its_cause(world: World) -> None:
    trigger = Trigger("event", "hello-customer", "event-2", "event-1")

    with activated(Activation(trigger, ("crm", "customer.created", "event-2"), "event-2")):
        await world.events.publish(OrderPlaced(number=1))
    envelope = await world.envelope()

    assert (envelope.correlation_id, envelope.causation_id) == ("event-1", "event-2")


async def test_a_step_publishes_in_the_name_of_the_event_that_started_its_run(world: World) -> None:
    shop = Process(world.store, world.clock, "process-1")
    trigger = Trigger("event", "hello-customer", "event-2", "event-1")

    @step("tell")
    async def tell(number: int, ctx: StepContext) -> None:
        await world.events.publish(OrderPlaced(number=number))

    @workflow("telling")
    def telling(number: Ref[int]) -> None:
        tell(number)

    with activated(Activation(trigger, ("crm", "customer.created", "event-2"), "event-2")):
        await telling(shop.container).run(1)
    envelope = await world.envelope()

    assert (envelope.correlation_id, envelope.causation_id) == ("event-1", "event-2")


async def test_an_event_of_nobody_begins_a_trace_and_one_of_a_trace_carries_it_on(world: World) -> None:
    carried = f"00-{'a' * 32}-{'b' * 16}-01"

    await world.events.publish(OrderPlaced(number=1), id="order-1")
    begun = Trace.given((await world.envelope()).headers)
    with activated(Activation(Trigger("event", "hello", "e1", "e1", carried), ("crm", "customer.created", "e1"), "e1")):
        await world.events.publish(OrderPlaced(number=2), id="order-2")
    sent = (await world.envelope()).headers["traceparent"]

    assert begun == Trace.of({}, "shop", "order.placed", "order-1")
    assert sent.startswith(f"00-{'a' * 32}-")
    assert sent != carried


async def test_a_message_of_a_trace_is_sent_as_it_is(world: World) -> None:
    carried = f"00-{'a' * 32}-{'b' * 16}-01"
    trace = Trace.of({"traceparent": carried})

    await world.events.send(message_of("order.placed", b"{}", source="till", now_us=0, id="o1", trace=trace))
    sent = (await world.envelope()).headers

    assert sent == trace.headers("till", "order.placed", "o1")


async def test_an_event_above_the_limit_is_not_published(world: World) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"event 'order\.placed' is .* the limit is 100"):
        await world.events.publish(OrderPlaced(number=10**100))

    assert await world.store.queue_depths("shop") == {}
