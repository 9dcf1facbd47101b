"""Whatever a publisher sends: what can be read is delivered, the rest is dead-lettered, and nobody else suffers."""

import asyncio
import base64
import json
import struct
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from daemon.clock import SystemClock
from daemon.events.bus import Subscription
from daemon.events.model import Choice, message_of
from daemon.events.publisher import EventBus
from daemon.events.rabbitmq.codec import Properties, typed
from daemon.trace import Trace
from tests.integration.rabbitmq.laboratory import Laboratory

LIMIT = 1_000


class Raw(pika.BasicProperties):  # type: ignore[misc]
    """Properties that pika would refuse to encode."""

    def __init__(self, properties: Properties) -> None:
        super().__init__()
        self._raw = properties.marshal()

    def encode(self) -> list[bytes]:
        return [self._raw]


def structured(**event: Any) -> tuple[bytes, pika.BasicProperties]:
    attributes = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "customer.created"}
    body = json.dumps(attributes | event).encode()
    return body, pika.BasicProperties(content_type="application/cloudevents+json; charset=utf-8")


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:"])
async def test_a_cloudevent_in_binary_mode_is_an_event(lab: Laboratory, prefix: str) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    attributes = {
        "id": "e1",
        "source": "/shop",
        "type": "com.shop.customer",
        "time": "2026-01-02T03:04:05.678901+02:00",
    }
    headers = {f"{prefix}{name}": value for name, value in attributes.items()}
    headers |= {
        f"{prefix}traceparent": trace,
        f"{prefix}causationid": "e0",
        f"{prefix}correlationid": "c0",
        "tenant": "acme",
    }

    await lab.publish("customer.created", b"{}", pika.BasicProperties(headers=headers, message_id="other"))

    envelope = (await inbox.next()).message.envelope
    assert (envelope.id, envelope.source, envelope.name) == ("e1", "/shop", "customer.created")
    assert envelope.time == datetime(2026, 1, 2, 1, 4, 5, 678901, tzinfo=UTC)
    assert (envelope.correlation_id, envelope.causation_id) == ("c0", "e0")
    assert envelope.headers == {"tenant": "acme", "traceparent": trace}


async def test_a_cloudevent_in_structured_mode_is_an_event(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")

    await lab.publish("customer.created", *structured(data={"id": "c1", "name": "Zoë"}, time="2026-01-02T03:04:05Z"))
    await lab.publish("customer.created", *structured(id="e2", data_base64=base64.b64encode(b'{"id": "c2"}').decode()))

    first, second = (await inbox.next()).message, (await inbox.next()).message
    assert json.loads(first.body) == {"id": "c1", "name": "Zoë"}
    assert (first.envelope.id, first.envelope.source) == ("e1", "/shop")
    assert first.envelope.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (second.envelope.id, second.body) == ("e2", b'{"id": "c2"}')


@pytest.mark.parametrize("kind", [b"S", b"x"], ids=["text", "bytes"])
async def test_a_trace_comes_in_as_text_or_bytes_and_stays_with_the_event_over_retries(
    lab: Laboratory, kind: bytes
) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    properties = Properties({}, {b"traceparent": kind + len(trace).to_bytes(4) + trace.encode()})
    await lab.publish("customer.created", b"{}", Raw(properties))

    first = await inbox.next()
    await first.retry(0.1, attempt=2, error="E")
    again = await inbox.next()

    assert first.message.envelope.headers == again.message.envelope.headers == {"traceparent": trace}


async def test_an_event_is_published_with_a_trace(lab: Laboratory) -> None:
    bus = await lab.bus()
    await bus.declare([Subscription("greet", ("customer.created",), prefetch=1)])
    lab.subscribers.add("greet")
    events = EventBus(bus, app=lab.app, clock=SystemClock(), max_payload_bytes=LIMIT)

    await events.send(message_of("customer.created", b"{}", source="till", now_us=0, id="e1"))

    _, properties, _ = await lab.take(f"{lab.app}.greet")
    identity = "till", "customer.created", "e1"
    assert properties.headers["traceparent"] == Trace.of({}, *identity).headers(*identity)["traceparent"]


async def test_properties_alone_make_an_event(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    sent = pika.BasicProperties(message_id="e1", app_id="shop", timestamp=1_767_322_845, correlation_id="c0")

    await lab.publish("customer.created", b"{}", sent)

    envelope = (await inbox.next()).message.envelope
    assert (envelope.id, envelope.source, envelope.correlation_id) == ("e1", "shop", "c0")
    assert envelope.time == datetime(2026, 1, 2, 3, 0, 45, tzinfo=UTC)


async def test_what_was_put_on_the_queue_itself_is_named_by_its_type(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")

    await lab.publish(f"{lab.app}.greet", b"{}", pika.BasicProperties(type="customer.created"), exchange="")

    assert (await inbox.next()).message.envelope.name == "customer.created"


UNDECODABLE: dict[str, tuple[bytes, pika.BasicProperties]] = {
    "an id that is not UTF-8": (b"{}", Raw(Properties({"message_id": b"\xff\xfe"}))),
    "an id that is a number": (b"{}", pika.BasicProperties(headers={"cloudEvents_id": 17})),
    "an id that is bytes": (b"{}", Raw(Properties({}, {b"cloudEvents_id": b"x\x00\x00\x00\x01\xff"}))),
    "an id that no database takes": (b"{}", pika.BasicProperties(message_id="e\x001")),
    "an id that is too long": (b"{}", pika.BasicProperties(headers={"cloudEvents_id": "e" * 300})),
    "a structured event that is no JSON": (b"\xff", structured()[1]),
    "a structured event that is no object": (b"[]", structured()[1]),
    "a structured event nested too deeply": (b"[" * 500 + b"]" * 500, structured()[1]),
    "a structured event with bad base64": structured(data_base64="#"),
    "a structured event without a text for its id": structured(id=[1]),
    "a batch of events": (b"[]", pika.BasicProperties(content_type="application/cloudevents-batch+json")),
}


@pytest.mark.parametrize("case", UNDECODABLE)
async def test_what_is_no_event_is_dead_lettered_as_it_came(lab: Laboratory, case: str) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    body, properties = UNDECODABLE[case]

    await lab.publish("customer.created", body, properties)
    await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id="good"))

    assert (await inbox.next()).message.envelope.id == "good"
    while not (letters := await bus.dead_letters("greet", limit=10)):
        pass
    [letter] = letters
    assert (letter.reason, letter.body, letter.event_name) == ("undecodable", body, "customer.created")
    assert letter.error
    assert letter.event_id


async def test_a_payload_that_is_too_large_is_given_up_before_anybody_takes_it(lab: Laboratory) -> None:
    bus = await lab.bus(max_payload_bytes=100)
    _, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=2)
    for number in range(3):
        await lab.publish("customer.created", b"[" * 101, pika.BasicProperties(message_id=f"large-{number}"))
    await lab.publish("customer.created", b"[" * 100, pika.BasicProperties(message_id="fits"))

    assert (await inbox.next()).message.envelope.id == "fits"

    async with asyncio.timeout(10):
        while len(letters := await bus.dead_letters("greet", limit=10)) < 3:  # noqa: ASYNC110 - the broker sets no event
            await asyncio.sleep(0.01)
    assert {(letter.event_id, str(letter.reason), len(letter.body)) for letter in letters} == {
        (f"large-{number}", "too_large", 101) for number in range(3)
    }
    assert "the payload is 101 bytes; the limit is 100 (daemon.max_payload_bytes)" in letters[0].error


async def test_a_structured_event_that_is_too_large_is_not_decoded(lab: Laboratory) -> None:
    bus = await lab.bus(max_payload_bytes=LIMIT)
    await lab.subscribe(bus, "greet", "customer.created")

    await lab.publish("customer.created", *structured(data="x" * LIMIT))

    while not (letters := await bus.dead_letters("greet", limit=10)):
        pass
    assert (letters[0].reason, letters[0].event_id) == ("too_large", letters[0].event_id)
    assert "1,000" in letters[0].error


STRANGE = {
    "a timestamp after the end of time": Properties({"timestamp": (2**64 - 1).to_bytes(8)}),
    "a timestamp in a header": Properties({}, {b"when": b"T" + (2**62).to_bytes(8)}),
    "a type that is not UTF-8": Properties({"type": b"\xff"}),
    "a header's name that is not UTF-8": Properties({}, {b"\xff\xfe": typed("kept")}),
    "a huge number": Properties({}, {b"weight": b"d" + struct.pack(">d", 1e300)}),
    "a decimal": Properties({}, {b"price": b"D\x02" + (4_294_967_295).to_bytes(4)}),
    "bytes": Properties({}, {b"blob": b"x" + (2).to_bytes(4) + b"\x00\xff", b"text": b"S" + (1).to_bytes(4) + b"\xff"}),
    "nothing": Properties({}, {b"void": b"V"}),
    "our own headers with wrong types": Properties({}, {b"x-sagad-attempts": typed("many"), b"x-death": typed(1)}),
    "our own headers of somebody else": Properties(
        {}, {b"x-sagad-attempts": typed(99), b"x-sagad-routing-key": typed("x")}
    ),
    "a copy to others": Properties({}, {b"CC": b"A" + (0).to_bytes(4)}),
    "thousands of headers": Properties({}, {f"header-{number}".encode(): typed(number) for number in range(3_900)}),
    "a user": Properties({"user_id": b"guest"}),
    "an expiry": Properties({"expiration": b"60000"}),
}


@pytest.mark.parametrize("case", STRANGE)
async def test_strange_properties_disturb_nothing_and_survive_retry_and_dead_letter(lab: Laboratory, case: str) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    strange = STRANGE[case]
    strange.fields["message_id"] = b"e1"

    await lab.publish("customer.created", b"{}", Raw(strange))
    first = await inbox.next()
    await first.retry(0, attempt=2, error="no" * 5_000)
    second = await inbox.next()
    await second.dead_letter("rejected", error="no" * 5_000, traceback="here\n" * 5_000)

    [letter] = await bus.dead_letters("greet", limit=10)
    assert await bus.replay("greet", Choice(frozenset({"e1"}))) == 1
    replayed = await inbox.next()
    assert [first.attempt, second.attempt, replayed.attempt, letter.attempts] == [1, 2, 1, 2]
    assert first.message.envelope.headers == replayed.message.envelope.headers
    assert first.message.envelope.name == replayed.message.envelope.name == "customer.created"
    assert (bus._consume.generation, bus._publish.generation) == (1, 1)


async def test_a_routing_key_that_is_not_utf_8_costs_nobody_the_connection(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.*")

    def publish(channel: BlockingChannel) -> None:
        method = pika.spec.Basic.Publish(exchange=lab.exchange, routing_key="customer.XX")
        encoded = [part.replace(b"XX", b"\xff\xfe") for part in method.encode()]
        method.encode = lambda: encoded
        message = (pika.BasicProperties(message_id="bad"), b"{}")
        channel._impl.connection._send_method(channel.channel_number, method, message)
        channel.basic_publish(lab.exchange, "customer.created", b"{}", pika.BasicProperties(message_id="good"))

    await lab.amqp(publish)

    assert (await inbox.next()).message.envelope.id == "good"
    while not (letters := await bus.dead_letters("greet", limit=10)):
        pass
    assert [(letter.event_id, letter.reason) for letter in letters] == [("bad", "undecodable")]
    assert bus._consume.generation == 1


async def test_a_returned_message_with_strange_properties_costs_nobody_the_connection(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.subscribe(bus, "greet", "customer.created")
    strange = Properties({"message_id": b"\xff\xfe", "timestamp": b"\xff" * 8})

    routed = await bus._publisher.publish(lab.exchange, "nobody", strange, b"{}")

    assert not routed
    assert bus._publish.generation == 1
