"""What `sagad publish` says of a payload before the subscribers refuse it."""

from typing import Any

from daemon import Event, subscriber
from daemon.cli.publish import misfits
from daemon.discovery import Discovered
from daemon.events.model import message_of


class OrderPlaced(Event, name="order.placed"):
    id: str


@subscriber(OrderPlaced)
async def ship(event: OrderPlaced) -> None:
    """Do nothing."""


@subscriber("order.*")
async def audit(event: dict[str, Any]) -> None:
    """Do nothing."""


def found(name: str, body: bytes) -> list[str]:
    return misfits(
        message_of(name, body, source="shop", now_us=0), Discovered(subscribers=(ship, audit)), limit_bytes=1_000
    )


def test_what_fits_is_not_spoken_of() -> None:
    assert found("order.placed", b'{"id": "1"}') == []


def test_every_subscriber_that_will_refuse_it_is_named_with_why() -> None:
    assert found("order.placed", b"[]") == [
        "ship will not take it. The payload does not fit OrderPlaced: the whole: Input should be an object.",
        "audit will not take it. The payload is no JSON object but an array; a subscriber to a pattern gets a dict.",
    ]


def test_an_event_of_others_is_nobodys_business() -> None:
    assert found("customer.created", b"[]") == []
