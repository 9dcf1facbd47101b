# Refused by: mypy, pyright

from daemon.events.model import Event
from daemon.events.subscriber import subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    id: str


@subscriber(OrderPlaced, OrderPaid)  # refused
async def note(event: OrderPlaced) -> None:
    """A handler gets any of the events that it subscribes to."""
