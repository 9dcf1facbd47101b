# Refused by: mypy, pyright

from daemon.events.model import Event
from daemon.events.subscriber import SubscriberContext, subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    id: str


@subscriber(OrderPlaced)  # refused
async def note(event: OrderPaid, ctx: SubscriberContext) -> None:
    """A handler gets the event that it subscribes to."""
