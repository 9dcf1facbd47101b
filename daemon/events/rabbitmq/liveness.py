"""Whether the broker agrees that we consume: it has been seen to forget a consumer and to tell nobody.

It is believed when it counts no consumer, or when something is ready and does not come. Of an ordered subscriber's
queue it comes to one daemon, and how many others are in line for it nobody can tell: one that was forgotten there is
missed only when its turn would have come. That is seen when nobody is left, or when something is ready and no daemon
is at work.
"""

from collections.abc import Awaitable, Callable, Sequence

from daemon.clock import Clock
from daemon.events.rabbitmq.consumer import RabbitConsumer

LOOK_S = 0.05  # between two looks, at least, however many subscribers there are


async def watch(
    consumers: Callable[[], Sequence[RabbitConsumer]],
    depth: Callable[[str], Awaitable[tuple[int | None, int | None]]],
    *,
    clock: Clock,
    chance: Callable[[], float],
    every_s: float,
) -> None:
    """Look at one consumer after the other, for ever, and have those begin anew that the broker does not know.

    Args:
        consumers: Those that there are now.
        depth: Tells how many messages a subscriber's queue has ready, and how many consumers; None for what is unknown.
        clock: Waits between looks.
        chance: Random numbers from 0 to 1: a fleet does not look all at once.
        every_s: How often to look at each, in seconds.
    """
    while True:
        standing = [consumer for consumer in consumers() if consumer.ready]
        pause_s = max(every_s / max(len(standing), 1), LOOK_S)
        if not standing:
            await clock.sleep(pause_s)
        for consumer in standing:
            await clock.sleep(pause_s * (0.5 + chance()))
            if consumer.ready:
                await consumer.compare(*await depth(consumer.subscription.id))
