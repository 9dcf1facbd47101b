"""The broker's patience with what is unanswered, which is over sooner than some handlers are done."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from daemon.clock import Clock, Timer
from daemon.events.rabbitmq.delivery import RabbitDelivery
from daemon.events.rabbitmq.line import Line
from daemon.log import get_logger

PARKED_FROM = 0.75  # of the longest time that something may be unanswered

_log = get_logger(__name__)


class Patience:
    """Has the store keep what the broker would soon take the channel for, and then answers.

    Args:
        unsettled: What is unanswered, the oldest first.
        answered: Called with each whose answer the broker has.
        owner: This process's id in the store.
        line: Of an ordered subscriber.
        max_s: Longest time to leave something unanswered.
        spawn: Starts a task.
    """

    def __init__(
        self,
        unsettled: Callable[[], Iterable[RabbitDelivery]],
        answered: Callable[[RabbitDelivery], None],
        *,
        owner: str,
        line: Line | None,
        clock: Clock,
        max_s: float,
        spawn: Callable[[Coroutine[None, None, object]], asyncio.Task[object]],
    ) -> None:
        self._unsettled = unsettled
        self._answered = answered
        self._owner = owner
        self._line = line
        self._clock = clock
        self._max_s = max_s
        self._spawn = spawn
        self._timer: Timer | None = None

    def watch(self) -> None:
        """Look in time, from now until nothing is unanswered."""
        if self._timer is None:
            self._timer = self._clock.call_later(self._max_s * (1 - PARKED_FROM), self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        latest_s = self._clock.monotonic_s() - self._max_s * PARKED_FROM
        unsettled = list(self._unsettled())
        for delivery in unsettled:
            if delivery.received_s > latest_s:
                break
            if self._line is None:
                parking = delivery.park(self._owner, started=True)
            else:
                parking = delivery.park("", started=self._line.starts(delivery))
            if parking is not None:
                self._spawn(self._park(delivery, parking))
        self._timer = None
        if unsettled:
            self.watch()

    async def _park(self, delivery: RabbitDelivery, parking: asyncio.Task[None]) -> None:
        await asyncio.wait({parking})
        if delivery.row is not None:
            _log.debug("event_parked", subscriber=delivery.subscriber, event_id=delivery.message.envelope.id)
            self._answered(delivery)
