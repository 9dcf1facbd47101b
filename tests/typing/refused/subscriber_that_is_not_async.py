# Refused by: mypy, pyright

from daemon.events.model import Event
from daemon.events.subscriber import subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


@subscriber(OrderPlaced)  # refused
def note(event: OrderPlaced) -> None:
    """A handler is async."""
