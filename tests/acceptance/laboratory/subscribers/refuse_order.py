"""A handler that cannot do what it is asked."""

from datetime import timedelta

from daemon import Event, Retry, SubscriberContext, subscriber


class OrderRefused(Event, name="order.refused"):
    """An order that nobody can take."""

    id: str


@subscriber(OrderRefused, id="refuse-order", retry=Retry(max_attempts=3, delay=timedelta(milliseconds=20)))
async def refuse_order(event: OrderRefused, ctx: SubscriberContext) -> None:
    """Fail, unless the test has mended it."""
    if not ctx.options.get("mended"):
        msg = f"no room for {event.id}"
        raise RuntimeError(msg)
