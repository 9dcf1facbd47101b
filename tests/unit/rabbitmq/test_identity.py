"""Events without an id."""

from datetime import UTC, datetime

from daemon.events.model import Envelope, Message
from daemon.events.rabbitmq.codec import Properties, typed
from daemon.events.rabbitmq.identity import fingerprint, renamed
from daemon.events.rabbitmq.wire import Incoming


def incoming(body: bytes = b"{}", key: str = "customer.created", **headers: int) -> Incoming:
    properties = Properties({}, {name.replace("_", "-").encode(): typed(value) for name, value in headers.items()})
    return Incoming("shop.greet", "events", key, properties, body, redelivered=False)


def test_what_the_broker_adds_on_the_way_is_not_part_of_the_fingerprint() -> None:
    marks = {
        fingerprint(incoming()),
        fingerprint(incoming(x_delivery_count=3)),
        fingerprint(incoming(x_sagad_attempts=2)),
    }
    others = {
        fingerprint(incoming(b"[]")),
        fingerprint(incoming(key="customer.moved")),
        fingerprint(incoming(tenant=1)),
    }

    assert len(marks) == 1
    assert len(marks | others) == 4


def test_another_id_is_also_that_of_all_that_the_event_sets_off_unless_that_has_its_own() -> None:
    alone = Envelope("e2", "customer.created", datetime.now(UTC), "", correlation_id="e2")
    member = Envelope("e2", "customer.created", datetime.now(UTC), "", correlation_id="c1")

    ids = [renamed(Message(each, b"{}"), "e1").envelope for each in (alone, member)]

    assert [(each.id, each.correlation_id) for each in ids] == [("e1", "e1"), ("e1", "c1")]
