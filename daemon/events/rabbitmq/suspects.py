"""Deliveries that may have killed the process that had them, and how they are kept from dragging others along.

The broker marks what was delivered before without an end, and cannot tell who was at fault: with one message that kills
its process come all that had been sent ahead with it. Each of them is a suspect, unless this process had it and lives:

    fresh ---------------------------------------------------> handed on, with the others
    suspect --> nothing else is out --> its start is durable --> handed on alone --> ended

* While there are suspects, what is fresh waits; what was handed on before ends first.
* Only the durable starts are counted. The first one of an event, when it was fresh, left no trace, so it is added.
* One whose start was noted before without an end is a suspect of the whole process: only one of these runs at a time in
  all subscribers, or the guilty one of this would be counted against an innocent one of that.
* A start is taken back if its delivery is returned while this process lives: the first one, too, if it is released.
* What was found guilty stays known until its dead letter is replayed: it comes again if its acknowledgement is lost.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace

from daemon.events.bus import Delivery
from daemon.events.rabbitmq.delivery import RabbitDelivery
from daemon.events.rabbitmq.receipts import Key, Receipts, key_of
from daemon.log import get_logger

OURS_MAX = 10_000

_log = get_logger(__name__)


class Suspects:
    """Hands one subscriber's deliveries on: together what is fresh, alone what is suspect.

    Args:
        receive: Takes deliveries over.
        receipts: Keeps how often a suspect was started.
        alone: Held by the suspect of the whole process.
        spawn: Starts a task.
    """

    def __init__(
        self,
        receive: Callable[[Delivery], None],
        receipts: Receipts,
        alone: asyncio.Lock,
        spawn: Callable[[Coroutine[None, None, object]], asyncio.Task[object]],
    ) -> None:
        self._receive = receive
        self._receipts = receipts
        self._alone = alone
        self._spawn = spawn
        self._fresh: deque[RabbitDelivery] = deque()
        self._suspects: deque[RabbitDelivery] = deque()
        self._trial: asyncio.Task[object] | None = None
        self._tried: RabbitDelivery | None = None  # while it is not handed on yet
        self._out: set[RabbitDelivery] = set()
        self._ended = asyncio.Event()
        self._ours: OrderedDict[Key, None] = OrderedDict()

    def knows(self, delivery: RabbitDelivery) -> bool:
        """Tell whether this process had the event when it lost the channel: it may still be at it."""
        return key_of(delivery.message.envelope) in self._ours

    def has_out(self, delivery: RabbitDelivery) -> bool:
        """Tell whether it was handed on, and has not ended."""
        return delivery in self._out

    def forget(self) -> None:
        """Forget what this process had: others may have had it since."""
        self._ours.clear()

    def take(self, delivery: RabbitDelivery) -> None:
        """Take a delivery over, to hand it on when it is its turn."""
        if delivery.redelivered and self._ours.pop(key_of(delivery.message.envelope), self) is None:
            self._hand_on(delivery)
            return
        (self._suspects if delivery.redelivered else self._fresh).append(delivery)
        self._go_on()

    def resume(self, delivery: RabbitDelivery) -> None:
        """Take over what was here before, and has waited for its next attempt."""
        self._fresh.append(delivery)
        self._go_on()

    def ended(self, delivery: RabbitDelivery) -> None:
        """Note that a delivery is out no more."""
        self._out.discard(delivery)
        self._ended.set()
        self._go_on()

    def lost(self) -> None:
        """Forget everything that is not parked: the channel is lost, and it comes again."""
        for delivery in self._out:
            self._ours[key_of(delivery.message.envelope)] = None
            if len(self._ours) > OURS_MAX:
                self._ours.popitem(last=False)
        self._out = {delivery for delivery in self._out if delivery.row is not None}
        for delivery in self._withdraw():
            if delivery.row is not None:
                (self._suspects if delivery.redelivered else self._fresh).append(delivery)
        self._ended.set()
        self._go_on()

    def close(self) -> list[RabbitDelivery]:
        """Hand nothing on any more; return what was not."""
        return self._withdraw()

    def _withdraw(self) -> list[RabbitDelivery]:
        held = [*self._suspects, *self._fresh]
        self._suspects.clear()
        self._fresh.clear()
        if self._tried is not None and self._trial is not None:
            held.insert(0, self._tried)
            self._tried = None
            self._trial.cancel()
        return held

    def _go_on(self) -> None:
        if self._trial is not None:
            return
        if self._suspects:
            if not self._out:
                self._tried = suspect = self._suspects.popleft()
                self._trial = self._spawn(self._try(suspect))
            return
        while self._fresh:
            self._hand_on(self._fresh.popleft())

    def _hand_on(self, delivery: RabbitDelivery) -> None:
        self._out.add(delivery)
        self._receive(delivery)

    async def _try(self, suspect: RabbitDelivery) -> None:
        """Hand a suspect on once its start is durable, and return when it has ended."""
        try:
            known = suspect.receipt or await self._receipts.of(suspect.message.envelope)
            async with AsyncExitStack() as stack:
                if known.starts > 0:
                    await stack.enter_async_context(self._alone)
                suspect.begin(replace(known, starts=known.starts + 1, owner=self._receipts.owner))
                await self._receipts.put(suspect.receipt or known)
                _log.debug("suspect_started", subscriber=suspect.subscriber, crashes=suspect.crashes)
                self._tried = None
                self._hand_on(suspect)
                while self._out:
                    self._ended.clear()
                    await self._ended.wait()
        finally:
            self._trial = self._tried = None
            self._go_on()
