"""Subscribers over which the broker may close the whole connection, and how they are told from the others.

What the broker has against a queue usually costs the channel that asked. A damaged quorum queue, or something that it
does not implement, costs the connection, and with it everybody's. Whoever was attaching just then is a suspect, guilty
or not, and is tried on a connection of its own before it may come near the others again:

    attaching -> connection closed over somebody -> tried apart -> attaching
                                                        |   ^
                                                        +---+ closed again: out of service for a while
"""

import asyncio
from collections.abc import Callable

from aiormq import exceptions
from aiormq.abc import DeliveredMessage

from daemon.errors import BrokerUnavailableError
from daemon.events.bus import Subscription
from daemon.events.rabbitmq.connection import REFUSALS, Link, call
from daemon.events.rabbitmq.topology import Topology
from daemon.events.rabbitmq.transport import underlay_of

TRIALS = 4
TRIAL_TIMEOUT_S = 30.0
WAIT_MAX_S = 600.0
_APART = "It is kept apart from the others, and tried again on a connection of its own: see the broker's log."

# What the broker closes a connection with over something that was asked of it, 501 to 541; not because it stops.
OFFENCES = (
    exceptions.ConnectionFrameError,
    exceptions.ConnectionSyntaxError,
    exceptions.ConnectionCommandInvalid,
    exceptions.ConnectionChannelError,
    exceptions.ConnectionUnexpectedFrame,
    exceptions.ConnectionResourceError,
    exceptions.ConnectionNotAllowed,
    exceptions.ConnectionNotImplemented,
    exceptions.ConnectionInternalError,
)


def offends(error: BaseException) -> bool:
    """Tell whether the broker closed the whole connection while it was asked for something."""
    return isinstance(error.__cause__, OFFENCES)


def out_of_service_s(offences: int, base_s: float) -> float:
    """Return how long a subscriber stays out of service after so many offences in a row, in seconds.

    After the first it is tried apart at once: it may have been somebody else.
    """
    return 0.0 if offences < 2 else min(base_s * 2.0 ** min(offences - 2, 16), WAIT_MAX_S)  # noqa: PLR2004


class Quarantine:
    """Tries subscribers on connections of their own, a few at one time.

    Args:
        link: Makes such a connection, not yet started.
        topology: Makes what declares on it.
        timeout_s: How long a trial may take; a queue that does not answer has not passed it.
    """

    def __init__(
        self, link: Callable[[], Link], topology: Callable[[Link], Topology], *, timeout_s: float = TRIAL_TIMEOUT_S
    ) -> None:
        self._link = link
        self._topology = topology
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(TRIALS)

    async def trial(self, subscription: Subscription, prepared: Callable[[], None]) -> str:
        """Return what the broker has against consuming this subscriber's queue, or an empty text.

        What it refuses in order, without closing the connection, costs nobody else anything: that passes. Calls
        `prepared` once the queue is there and bound, before it is consumed, which may take its time or never end.

        Raises:
            BrokerUnavailableError: The broker went away for another reason; the trial says nothing.
        """
        async with self._slots:
            link = self._link()
            link.start()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await link.wait_up()
                    await self._consume(link, subscription, prepared)
            except TimeoutError:
                if link.trouble:
                    raise BrokerUnavailableError(link.trouble) from None
                return (
                    f"RabbitMQ does not answer within {self._timeout_s:g} s for the queue of {subscription.id!r}: it "
                    f"has perhaps lost its majority. {_APART}"
                )
            except REFUSALS:
                return ""
            except BrokerUnavailableError as error:
                if not offends(error):
                    raise
                return (
                    f"RabbitMQ closes the whole connection over the queue of {subscription.id!r}: {error.__cause__}. "
                    f"{_APART}"
                )
            finally:
                await link.aclose()
        return ""

    async def _consume(self, link: Link, subscription: Subscription, prepared: Callable[[], None]) -> None:
        topology = self._topology(link)
        if await topology.prepare(subscription):
            return
        prepared()

        async def leave(_: DeliveredMessage) -> None:
            """Leave it unanswered: it goes back with the connection."""

        channel = await link.channel()
        await call(channel.set_qos(1), "set the prefetch")
        queue = topology.queue(subscription.id)
        await call((await underlay_of(channel)).basic_consume(queue, leave), f"consume the queue {queue!r}")
