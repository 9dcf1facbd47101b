"""Hands a subscriber's deliveries to its handler, and settles them by what comes of it; knows no broker.

    receive --> waiting --> running --> handled | retried | dead-lettered | released
                               ^ |
                  a redelivery is adopted

Invariants:
* A handler runs in a task of this module, never in a callback of a bus: losing a connection does not cancel it.
* At most one handling of an event (source, name, id) at one time in this process. A delivery of an event that is
  being handled joins it, and shares its end.
* What a handling emitted and that it took place are one commit; the delivery is acknowledged after it. An event that
  is known to be handled is acknowledged without running.
* A verdict that the broker did not learn of, because it had taken the delivery back, is kept: the redelivery is
  settled by it without running.
* While its breaker is open nothing is started: the deliveries wait here, and when there are as many as the prefetch
  allows, the broker sends no more.
* A cancellation from outside is neither success nor failure: the delivery goes back as it was.
* What another process took over, because this one counted as dead, is cancelled: nothing that it would still do is
  wanted. Where nobody can tell, as on a broker, it goes on, but starts no run that the other one has started.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events import verdict as verdicts
from daemon.events.breaker import PAUSE_S, Breaker
from daemon.events.bus import Delivery
from daemon.events.handling import Handling, Identity, Surroundings, identity_of, note_difference
from daemon.events.outage import patiently
from daemon.events.recall import Recall
from daemon.events.subscriber import Subscriber
from daemon.events.verdict import Verdict
from daemon.log import get_logger

_log = get_logger(__name__)


class Dispatcher:
    """Dispatches one subscriber's deliveries; `receive` is what its consumer is given.

    `subscriber` and `options` may be replaced at any time; what is running goes on as it began.
    """

    def __init__(self, subscriber: Subscriber[Any], around: Surroundings, *, options: Mapping[str, Any]) -> None:
        self.subscriber = subscriber
        self.options = options
        self._around = around
        self._log = _log.bind(subscriber=subscriber.id)
        self._waiting: deque[Delivery] = deque()
        self._running: dict[Identity, Handling] = {}
        self._recall = Recall(lambda: max(self.subscriber.concurrency, around.prefetch))
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._breaker = Breaker(around.clock, chance=around.chance, opened=self._start, log=self._log)
        self._draining = False
        self._cut = False

    @property
    def in_flight(self) -> int:
        """How many events are being handled, or wait here to be."""
        return len(self._waiting) + len(self._running)

    @property
    def paused(self) -> bool:
        """Whether it holds events back, because the service seems to be down that its handler needs."""
        return self._breaker.paused

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery over; it is handled as soon as there is room."""
        if self._adopt(delivery, identity_of(delivery)):
            return
        self._waiting.append(delivery)
        if self._draining:
            self._release_waiting()
        else:
            self._start()

    def retire(self) -> bool:
        """Give back what waits, for its subscriber was turned off; tell whether nothing is left to do here.

        What runs goes on, and so does everything if the subscriber is turned on again.
        """
        self._release_waiting()
        return not self._tasks

    def confirm(self, taken: set[Delivery]) -> None:
        """Go on after a time in which this process may have counted as dead: these deliveries others have by now."""
        for delivery in taken.intersection(self._waiting):
            self._waiting.remove(delivery)
            self._spawn(self._release(delivery))
        for handling in self._running.values():
            handling.confirm(taken)

    async def drain(self, grace_s: float) -> None:
        """Start nothing more, and return when all is settled.

        What still runs after `grace_s` seconds is cancelled; its deliveries go back as they were.
        """
        self._draining = True
        self._breaker.aclose()
        self._release_waiting()
        timer = self._around.clock.call_later(grace_s, self.cancel)
        try:
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks)
                self._tasks -= done
        finally:
            timer.cancel()

    def cancel(self) -> None:
        """Start nothing more, and cancel what runs; for whoever cannot wait for `drain`."""
        self._draining = self._cut = True
        self._breaker.aclose()
        for task in self._tasks:
            task.cancel()
        self._release_waiting()

    # --- starting ---

    def _adopt(self, delivery: Delivery, identity: Identity) -> bool:
        handling = self._running.get(identity)
        if handling is None:
            return False
        self._compare(delivery, hash(handling.first.message.body))
        handling.deliveries.append(delivery)
        return True

    def _start(self) -> None:
        concurrency = self.subscriber.concurrency
        while self._waiting and self._breaker.room(self._busy, concurrency) > 0 and not self._draining:
            delivery = self._waiting.popleft()
            identity = identity_of(delivery)
            if not self._adopt(delivery, identity):
                handling = Handling(delivery, identity, self.subscriber, self._around, hurry=self._is_cut)
                self._running[identity] = handling
                self._busy += 1
                self._breaker.started(identity)
                handling.task = self._spawn(self._handle(handling))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task, which takes itself off `_tasks` at its end: a callback would cost another turn of the loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task

    def _release_waiting(self) -> None:
        while self._waiting:
            delivery = self._waiting.popleft()
            self._spawn(self._release(delivery))

    def _is_cut(self) -> bool:
        return self._cut

    # --- one handling, in its own task ---

    async def _handle(self, handling: Handling) -> None:
        started_s = self._around.clock.monotonic_s()
        verdict, again, took_effect = verdicts.RELEASED, None, False
        with suppress(asyncio.CancelledError):  # a shutdown: what is left to do is to give the deliveries back
            again = self._recall.verdict_on(handling.first)
            verdict = again or self._known(handling) or await handling.judge(self.options)
        if handling.is_lost and verdict is verdicts.RELEASED:
            verdict = verdicts.TAKEN_OVER
        self._busy -= 1
        verdict = self._tell_breaker(handling, verdict, again)
        self._start()
        try:
            took_effect = await self._settle(handling, verdict)
        finally:
            del self._running[handling.identity]
            self._tasks.discard(handling.task)
            if verdict.handled:
                self._recall.done(handling.first)
            elif not took_effect and verdict not in verdicts.GIVEN_BACK:
                self._recall.unsettled(handling.first, verdict)
            self._note(handling, verdict, started_s, repeated=again is not None)

    def _known(self, handling: Handling) -> Verdict | None:
        body_hash = self._recall.body_hash(handling.identity)
        if body_hash is None:
            return None
        self._compare(handling.first, body_hash)
        return verdicts.DUPLICATE

    def _tell_breaker(self, handling: Handling, verdict: Verdict, again: Verdict | None) -> Verdict:
        """Return the verdict, or the one that takes its place because the failure is not to be counted."""
        breaker, subscriber = self._breaker, self.subscriber
        uncounted = breaker.ended(
            handling.identity,
            verdict.blame if again is None else None,
            concurrency=subscriber.concurrency,
            final=verdict.line == "event_dead_lettered",
            error=str(verdict.fields.get("error", "")),
        )
        if not uncounted:
            return verdict
        delay_s = max(breaker.left_s, PAUSE_S[0])
        return verdicts.postponed(verdict, delay_s, handling.first.attempt)

    async def _settle(self, handling: Handling, verdict: Verdict) -> bool:
        """Settle all deliveries of a handling; tell whether that took effect on the one that the broker still knows."""
        # The newest is that one, if there is any; the others are let go. One that is adopted meanwhile may be the same
        # event after a lost connection: it gets the verdict, too.
        took_effect = False
        while handling.deliveries:
            *others, newest = handling.deliveries
            handling.deliveries = []
            took_effect = await self._settle_one(newest, verdict.settle)
            for other in others:
                ours = verdict if verdict in verdicts.GIVEN_BACK else verdicts.OK
                await self._settle_one(other, ours.settle)
        return took_effect

    async def _release(self, delivery: Delivery) -> None:
        try:
            await self._settle_one(delivery, verdicts.RELEASED.settle)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)

    async def _settle_one(self, delivery: Delivery, settle: Callable[[Delivery], Awaitable[bool]]) -> bool:
        try:
            try:
                return await settle(delivery)
            except (StoreUnavailableError, BrokerUnavailableError) as error:
                again = partial(settle, delivery)
                return await patiently(again, clock=self._around.clock, hurry=self._is_cut, failed=error)
        except Exception:  # noqa: BLE001 - it comes again; the other deliveries must not suffer
            self._log.exception("settle_failed", event_id=delivery.message.envelope.id)
            return False

    # --- afterwards ---

    def _note(self, handling: Handling, verdict: Verdict, started_s: float, *, repeated: bool) -> None:
        if not self._log.is_enabled_for(logging.INFO):
            return
        envelope = handling.first.message.envelope
        if repeated:  # its line is written
            self._log.debug("settled_again", event_id=envelope.id, event_name=envelope.name, outcome=verdict.outcome)
            return
        self._log.info(
            verdict.line,
            event_id=envelope.id,
            event_name=envelope.name,
            attempt=handling.first.attempt,
            trace_id=handling.trace.id,
            outcome=verdict.outcome,
            duration_ms=round((self._around.clock.monotonic_s() - started_s) * 1_000, 1),
            **verdict.fields,
        )

    def _compare(self, delivery: Delivery, body_hash: int) -> None:
        if hash(delivery.message.body) != body_hash:
            note_difference(delivery)
