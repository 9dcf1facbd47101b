"""Events without an id."""

from daemon.events.rabbitmq.codec import Properties, typed
from daemon.events.rabbitmq.identity import LOST_MAX, AnonymousIds, fingerprint
from daemon.events.rabbitmq.wire import Incoming


def incoming(body: bytes = b"{}", key: str = "customer.created", **headers: int) -> Incoming:
    properties = Properties({}, {name.replace("_", "-").encode(): typed(value) for name, value in headers.items()})
    return Incoming("shop.greet", "events", key, properties, body, redelivered=False)


def test_a_redelivered_event_gets_the_oldest_id_that_was_lost_and_each_only_once() -> None:
    ids = AnonymousIds()
    first, second = (ids.assign("mark", redelivered=False, now_us=1) for _ in range(2))
    ids.lose("mark", first)
    ids.lose("mark", second)

    again = [ids.assign("mark", redelivered=True, now_us=2) for _ in range(3)]

    assert again[:2] == [first, second]
    assert again[2] not in (first, second)


def test_a_new_event_never_gets_the_id_of_an_equal_one() -> None:
    ids = AnonymousIds()
    ids.lose("mark", "lost")

    assert ids.assign("mark", redelivered=False, now_us=1) != "lost"
    assert ids.assign("other", redelivered=True, now_us=1) != "lost"


def test_what_never_comes_back_is_forgotten() -> None:
    ids = AnonymousIds()
    for number in range(LOST_MAX + 1):
        ids.lose(f"mark-{number}", f"id-{number}")

    assert ids.assign("mark-0", redelivered=True, now_us=1) != "id-0"
    assert ids.assign("mark-1", redelivered=True, now_us=1) == "id-1"


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
