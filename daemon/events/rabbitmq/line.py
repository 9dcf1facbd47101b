"""An ordered subscriber's deliveries, started one after the other, among all daemons.

    the store's, by its order ---+
                                 +--> our turn, and nothing under way --> the head: handled, retried in place, ended
    the broker's, by its order --+

Invariants:
* Nothing is started without the turn, which is given back only when nothing is under way here. So what a daemon is at
  whose connection is lost is not started by the one to which the broker has given it meanwhile.
* What is in the store comes before what is on the broker's queue. It was the first of that when it was put there: what
  was being handled for too long, and then what waited behind that for too long. It is nobody's there, for it can only
  be taken in turn; it is handed over from there, and never published again.
* That the store has nothing is looked up anew before the first delivery of each consumption, of each turn, and after
  what was delivered before: only then can another daemon have put there what comes before it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace

from daemon.clock import Clock
from daemon.errors import StoreUnavailableError
from daemon.events.rabbitmq.connection import backoff_s
from daemon.events.rabbitmq.delivery import RabbitDelivery
from daemon.events.rabbitmq.receipts import Receipts, key_of
from daemon.events.rabbitmq.shelf import Shelf
from daemon.events.rabbitmq.suspects import Suspects
from daemon.events.rabbitmq.turn import Turn
from daemon.log import get_logger
from daemon.store.model import QueuedDelivery

IDLE_S = 1.0  # a turn is kept for so long that busy times cost no more writes, and no longer: others may wait for it
ASK_MAX_S = 1.0  # between two looks whether it is our turn

_log = get_logger(__name__)


class Line:
    """Starts one subscriber's deliveries in order.

    Args:
        subscriber: Whose they are.
        suspects: Takes over what is started.
        made: Makes a delivery of what is taken from the store; None if it is no event that could be handled.
        again: Called with a delivery and the one that takes its place, for the next attempt; tells whether the message
            is still ours.
        spawn: Starts a task.
    """

    def __init__(
        self,
        subscriber: str,
        *,
        turn: Turn,
        shelf: Shelf,
        suspects: Suspects,
        receipts: Receipts,
        clock: Clock,
        chance: Callable[[], float],
        made: Callable[[QueuedDelivery], RabbitDelivery | None],
        again: Callable[[RabbitDelivery, RabbitDelivery], bool],
        spawn: Callable[[Coroutine[None, None, object]], asyncio.Task[object]],
    ) -> None:
        self._subscriber = subscriber
        self._turn = turn
        self._shelf = shelf
        self._suspects = suspects
        self._receipts = receipts
        self._clock = clock
        self._chance = chance
        self._made = made
        self._again = again
        self._spawn = spawn
        self._waiting: deque[RabbitDelivery] = deque()
        self._head: RabbitDelivery | None = None
        self._adrift: RabbitDelivery | None = None  # a head that is being handled, and was lost with its channel
        self._source: object = None  # the consumption that the latest delivery came of
        self._doubts = 1  # counts what may have put something into the store
        self._cleared = 0  # at which of these the store had nothing
        self._told = False
        self._is_blocked = False  # what is first cannot be started before we are told so
        self._closed = False
        self._stirred = asyncio.Event()
        self._moving = asyncio.Lock()  # what is done with the turn, and under it until something is under way
        self._task: asyncio.Task[None] | None = None

    # --- what happens ---

    def take(self, delivery: RabbitDelivery, source: object) -> None:
        """Take over what the broker delivered."""
        if source != self._source or delivery.redelivered:
            self._source = source
            self._doubts += 1
        if delivery.redelivered and self._is_head(delivery):
            self._head = delivery  # it is being handled, and was lost with its channel
            self._suspects.take(delivery)
            return
        self._waiting.append(delivery)
        self._stir()

    def starts(self, delivery: RabbitDelivery) -> bool:
        """Tell whether it is under way. If not, and it is put into the store, it is started from there."""
        if delivery is self._head:
            return True
        self._doubts += 1
        return False

    def ended(self, delivery: RabbitDelivery) -> None:
        """Note that somebody is through with a delivery."""
        if delivery is self._head:
            self._head = None
        (self.look if delivery.row is not None else self._stir)()

    def lost(self) -> None:
        """Forget what is not under way: the channel is lost, and it comes again. Before the suspects are told."""
        self._waiting.clear()
        head = self._head
        if head is not None and head.row is None and head is not self._adrift:
            self._head = self._adrift = head if self._suspects.has_out(head) else None
        self._stirred.set()

    def look(self) -> None:
        """Note that the store may have something that can be started."""
        self._doubts += 1
        self._told, self._is_blocked = True, False
        self._stir()

    def close(self) -> list[RabbitDelivery]:
        """Start nothing more; return what waits."""
        self._closed = True
        self._stirred.set()
        waiting, self._waiting = [*self._waiting], deque()
        return waiting

    async def aclose(self) -> None:
        """Leave the turn to others."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with suppress(StoreUnavailableError):  # then it ends with our lease
            await self._turn.give_back()

    async def is_idle(self) -> bool:
        """Tell whether no daemon is at anything of this subscriber.

        Raises:
            StoreUnavailableError: The store is away.
        """
        async with self._moving:
            if self._turn.ours or self._waiting or not await self._turn.claim():
                return False
            await self._turn.give_back()
            return True

    # --- retries ---

    async def hold(self, delivery: RabbitDelivery, delay_s: float, attempt: int) -> bool:
        """Have the next attempt wait in place; which one it is, and when it is due, outlives this process.

        Of a delivery that is the broker's again only this is noted, for whoever has it next; returns False.
        """
        known = delivery.receipt or await self._receipts.of(delivery.message.envelope)
        due_us = self._clock.now_us() + round(delay_s * 1_000_000)
        seen_us, owner = delivery.first_seen_us, self._receipts.owner
        receipt = replace(known, owner=owner, starts=0, attempt=attempt, due_us=due_us, first_seen_us=seen_us)
        await self._receipts.put(receipt)
        waiting = delivery.again(receipt)
        if waiting.row is not None:
            waiting.row = await self._shelf.keep_first(waiting.row, attempt=attempt, due_us=due_us)
        return self._wait_as(delivery, waiting)

    def _wait_as(self, delivery: RabbitDelivery, waiting: RabbitDelivery, *, was_here: bool = True) -> bool:
        if delivery is not self._head or not self._again(delivery, waiting):
            self.ended(delivery)
            return False
        self._head = waiting
        self._suspects.ended(delivery)
        self._spawn(self._wait_in_place(waiting, was_here=was_here))
        return True

    async def _wait_in_place(self, delivery: RabbitDelivery, *, was_here: bool) -> None:
        due_us = delivery.receipt.due_us if delivery.receipt is not None else 0
        due_s = self._clock.monotonic_s() + (due_us - self._clock.now_us()) / 1_000_000
        while delivery is self._head and not self._closed and (left_s := due_s - self._clock.monotonic_s()) > 0:
            await self._stirs(left_s)
        if delivery is not self._head:
            return
        if self._closed:
            await delivery.release()  # to the head of the queue, where it came from
        else:
            (self._suspects.resume if was_here else self._suspects.take)(delivery)

    # --- one after the other ---

    @property
    def _due(self) -> bool:
        return not (self._head or self._closed or self._is_blocked) and bool(self._waiting or self._told)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if not self._due:
                    failures = 0
                    await self._rest()
                    continue
                async with self._moving:
                    failures = 0 if await self._go_on() else failures + 1
            except StoreUnavailableError as error:
                failures += 1
                _log.debug("line_waits", subscriber=self._subscriber, reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, nobody else would start what waits here
                failures += 1
                _log.exception("line_failed", subscriber=self._subscriber)
            if failures:
                await self._stirs(backoff_s(failures, self._chance(), cap_s=ASK_MAX_S))

    async def _rest(self) -> None:
        """Wait for something to start; give the turn back if that takes its time."""
        if self._head is not None or not self._turn.ours:
            await self._stirs()
            return
        if not self._closed:
            await self._stirs(IDLE_S)
        async with self._moving:
            if self._head is None and (self._closed or not self._due):
                self._suspects.forget()
                self._doubts += 1
                await self._turn.give_back()

    async def _go_on(self) -> bool:
        """Start what comes next; False if it is not our turn."""
        if not await self._turn.claim():
            self._told = False  # whoever has it sees to what is in the store; we are told again if not
            return False
        doubts, self._told = self._doubts, False
        if self._cleared != doubts:
            row, wait_s = await self._shelf.first(self._subscriber)
            if row is not None:
                await self._start_row(row)
                return True
            if wait_s:  # it waits for its next attempt
                self._is_blocked = self._doubts == doubts
                self._clock.call_later(wait_s, self.look)
                return True
            self._cleared = doubts
        while self._waiting and self._due and self._cleared == self._doubts:
            delivery = self._waiting[0]
            if delivery.parking is not None:
                await asyncio.wait({delivery.parking})
            elif delivery.row is not None:
                self._waiting.popleft()
                self.look()
            else:
                self._start(self._waiting.popleft())
        return True

    async def _start_row(self, row: QueuedDelivery) -> None:
        if self._closed:
            await self._shelf.release(row, interrupted=row.deliveries > 1)
        elif (delivery := self._made(row)) is not None:
            self._start(delivery)

    def _start(self, delivery: RabbitDelivery) -> None:
        self._head = delivery
        if delivery.redelivered and not self._suspects.knows(delivery):
            self._spawn(self._take_up(delivery))
        else:
            self._suspects.take(delivery)

    async def _take_up(self, delivery: RabbitDelivery) -> None:
        """Go on with a delivery where it stood when it was here, or in another process, the last time."""
        known = delivery.receipt or await self._receipts.of(delivery.message.envelope)
        if known.attempt > delivery.attempt:
            self._wait_as(delivery, delivery.again(known), was_here=False)
        elif delivery is self._head:
            self._suspects.take(delivery)

    def _is_head(self, delivery: RabbitDelivery) -> bool:
        """Tell whether that is the event which is under way, and which the store does not have."""
        head, key = self._head, key_of(delivery.message.envelope)
        return head is not None and head.row is None and key_of(head.message.envelope) == key

    def _stir(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"line-{self._subscriber}")
        self._stirred.set()

    async def _stirs(self, timeout_s: float | None = None) -> None:
        """Return when something has happened, or it is time."""
        self._stirred.clear()
        timer = None if timeout_s is None else self._clock.call_later(timeout_s, self._stirred.set)
        try:
            await self._stirred.wait()
        finally:
            if timer is not None:
                timer.cancel()
