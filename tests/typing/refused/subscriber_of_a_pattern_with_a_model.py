# Refused by: mypy, pyright

from daemon.events.model import Event
from daemon.events.subscriber import subscriber


class OrderPlaced(Event, name="order.placed"):
    id: str


@subscriber("order.*")  # refused
async def note(event: OrderPlaced) -> None:
    """A pattern's handler gets a dict."""
