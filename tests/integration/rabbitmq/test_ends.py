"""Every way in which an event can end without success."""

import base64
import json

import pika

from daemon.clock import SystemClock
from daemon.container import Services
from daemon.errors import Reject
from daemon.events.bus import Subscription
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import MAX_CRASHES, Surroundings
from daemon.events.model import DeadReason, Event
from daemon.events.subscriber import subscriber
from daemon.retry import Retry
from daemon.store.memory import MemoryStore
from tests.integration.rabbitmq.laboratory import Laboratory

LIMIT_BYTES = 1_000


class OrderPlaced(Event, name="order.placed"):
    id: str


@subscriber(OrderPlaced, id="reader", retry=Retry(max_attempts=2))
async def read(event: OrderPlaced) -> None:
    if event.id == "rejected":
        raise Reject("not this one")
    raise ValueError("never")


def reader(store: MemoryStore) -> Dispatcher:
    around = Surroundings(
        "shop", store, SystemClock(), Services([]).handler_container, lambda: None, max_payload_bytes=LIMIT_BYTES
    )
    return Dispatcher(read, around, options={})


async def test_every_end_that_is_no_success_is_a_dead_letter_with_its_reason(lab: Laboratory) -> None:
    """taskiq-aio-pika#5: a queue of dead letters is declared, and nothing lands there. nameko#387: errors are acked."""
    killed_by = await lab.bus()
    _, inbox = await lab.subscribe(killed_by, "reader", "order.placed")
    await lab.publish("order.placed", b'{"id": "o"}', pika.BasicProperties(message_id="crashed"))
    for _ in range(MAX_CRASHES):
        await inbox.next()
        await lab.die(killed_by)
        killed_by = await lab.bus()
        _, inbox = await lab.subscribe(killed_by, "reader", "order.placed")
    await inbox.next()
    await lab.die(killed_by)
    cloud = {"specversion": "1.0", "source": "shop", "type": "order.placed"}
    broken = cloud | {"id": "broken-event", "data_base64": "%"}
    wide = cloud | {"id": "wide-event", "data_base64": base64.b64encode(b"x" * LIMIT_BYTES).decode()}
    bodies = {
        "invalid": b'{"name": "o"}',
        "no-json": b"\xff{",
        "large": json.dumps({"id": "x" * LIMIT_BYTES}).encode(),
        "rejected": b'{"id": "rejected"}',
        "raising": b'{"id": "o"}',
    }
    expected = {
        "crashed": DeadReason.CRASHED,
        "invalid": DeadReason.INVALID_PAYLOAD,
        "no-json": DeadReason.UNDECODABLE,
        "large": DeadReason.TOO_LARGE,
        "rejected": DeadReason.REJECTED,
        "raising": DeadReason.ATTEMPTS_EXHAUSTED,
        "broken-event": DeadReason.UNDECODABLE,
        "wide-event": DeadReason.TOO_LARGE,
    }

    bus = await lab.bus(max_payload_bytes=LIMIT_BYTES)
    await bus.subscribe(Subscription("reader", ("order.placed",), 10), reader(lab.store).receive)
    for event_id, body in bodies.items():
        await lab.publish("order.placed", body, pika.BasicProperties(message_id=event_id))
    structured = "application/cloudevents+json"
    for event in (broken, wide):
        sent = pika.BasicProperties(content_type=structured, message_id=event["id"])
        await lab.publish("order.placed", json.dumps(event).encode(), sent)
    letters = [await lab.take(f"{lab.app}.reader.dead") for _ in expected]

    assert {properties.message_id: properties.headers["x-sagad-reason"] for _, properties, _ in letters} == expected
    assert all(properties.headers["x-sagad-error"] for _, properties, _ in letters)
    assert {properties.headers["x-sagad-routing-key"] for _, properties, _ in letters} == {"order.placed"}
    [state] = await bus.queues(["reader"])
    assert (state.ready, state.dead) == (0, 0)
