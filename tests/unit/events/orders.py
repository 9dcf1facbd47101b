"""Events that the tests of dispatch handle and emit."""

from daemon.events.model import Event


class OrderPlaced(Event, name="order.placed"):
    id: str
    total: int = 0


class OrderNoted(Event, name="order.noted"):
    id: str
