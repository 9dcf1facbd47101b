from daemon.events.model import Event
from daemon.events.subscriber import SubscriberContext, subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    id: str


@subscriber(OrderPlaced)
async def note(event: OrderPaid, ctx: SubscriberContext) -> None:
    """A handler gets the event that it subscribes to."""
