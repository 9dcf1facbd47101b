"""One subscriber's consumption: its channel, and the supervisor that brings it back.

    preparing -> consuming -> (channel or connection lost, queue deleted) -> preparing
        |                                       ^
        +-- refused: out of service, tried again after a while

Deliveries belong to the channel that they came on. When it is lost, what is under way goes on in its own tasks, its
settling does nothing, and the broker delivers it again, marked as redelivered.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import aiormq
from aio_pika.abc import AbstractChannel

from daemon.clock import Clock
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.bus import Subscription
from daemon.events.patterns import matches
from daemon.events.rabbitmq.connection import CLOSE_TIMEOUT_S, REFUSALS, STEADY_S, Link, backoff_s, call, close
from daemon.events.rabbitmq.consuming import ANSWERS_AT_ONCE, begin, end, until_answered
from daemon.events.rabbitmq.intake import Intake
from daemon.events.rabbitmq.quarantine import Quarantine, offends, out_of_service_s
from daemon.events.rabbitmq.roll import Roll
from daemon.events.rabbitmq.topology import Topology, explained
from daemon.events.rabbitmq.transport import underlay_of
from daemon.log import get_logger

DOUBTS_MAX = 2

_log = get_logger(__name__)


class RabbitConsumer:
    """Consumes one subscriber's queue until it is cancelled, whatever happens to the broker.

    Args:
        subscription: What to consume.
        intake: Makes the intake, given what to call when it is empty.
        link: The connection.
        topology: Declares what is missing.
        roll: Told once the queue is there and bound on the connection of the moment, or the broker has refused it.
        clock: Waits between attempts.
        chance: Random numbers from 0 to 1.
        quarantine: Tries it apart where the whole connection was closed while it attached.
        quarantine_s: Wait before a subscriber is tried again that the broker refused.
    """

    def __init__(
        self,
        subscription: Subscription,
        intake: Callable[[Callable[[], None]], Intake],
        *,
        link: Link,
        topology: Topology,
        roll: Roll,
        clock: Clock,
        chance: Callable[[], float],
        quarantine: Quarantine,
        quarantine_s: float,
    ) -> None:
        self.subscription = subscription
        self.trouble = ""
        self._queue = topology.queue(subscription.id)
        self._link = link
        self._topology = topology
        self._roll = roll
        self._clock = clock
        self._chance = chance
        self._quarantine = quarantine
        self._quarantine_s = quarantine_s
        self._since_s = math.inf  # when it began to consume
        self._offences = 0  # how often in a row the whole connection was closed over it, as far as we know
        self._interrupted = asyncio.Event()  # the channel is lost, the consumption ended, cancelled, or all is settled
        self._intake = intake(self._interrupted.set)
        self._channel: aiormq.Channel | None = None
        self._consumer_tag = ""
        self._cancelled = False
        self._silent = False  # the broker has not answered in time that the consumption is ended
        self._prefetch = 1 if subscription.ordered else subscription.prefetch
        self._stalled = False  # the broker does not know that we consume
        self._doubts = 0
        self._taken_before = 0
        roll.call([self])
        self._supervisor = asyncio.create_task(self._supervise(), name=f"consume-{subscription.id}")

    @property
    def look(self) -> Callable[[], None] | None:
        """Tells an ordered subscriber's line that the store has something; None of any other."""
        line = self._intake.line
        return None if line is None else line.look

    @property
    def ready(self) -> bool:
        return bool(self._consumer_tag) and not self._cancelled and self._link.connected

    @property
    def cancelled(self) -> bool:
        """Whether it takes nothing any more."""
        return self._cancelled

    def wants(self, name: str) -> bool:
        """Tell whether events of this name have to reach its queue, as far as the broker takes one from us."""
        return (
            not self._cancelled
            and not self.trouble
            and any(matches(pattern, name) for pattern in self.subscription.patterns)
        )

    @property
    def ended(self) -> bool:
        """Whether it was cancelled, and everything that it took is settled."""
        return self._supervisor.done()

    def on_end(self, tell: Callable[["RabbitConsumer"], None]) -> None:
        """Call `tell` with it once it has ended."""
        self._supervisor.add_done_callback(lambda _: tell(self))

    async def cancel(self) -> None:
        self._cancelled = True
        self._roll.answer(self)
        self._intake.close()
        channel, tag = self._channel, self._consumer_tag
        # An ordered subscriber ends with its channel, once all is settled: if it ended before, another daemon would be
        # given the next event while we are at this one.
        if channel is not None and tag and not channel.is_closed and not self.subscription.ordered:
            # Bounded by a wait, not by a cancellation: the library would close the channel, with all that is on it.
            cancelling = asyncio.create_task(self._end_consumption(channel, tag))
            _, unanswered = await asyncio.wait({cancelling}, timeout=CLOSE_TIMEOUT_S)
            self._silent = bool(unanswered)
        self._interrupted.set()

    async def aclose(self) -> None:
        """End it: what is not settled comes again."""
        await self.cancel()
        if self._channel is not None and self._intake.empty:  # it ends by itself
            await asyncio.wait({self._supervisor}, timeout=CLOSE_TIMEOUT_S)
        self._supervisor.cancel()
        await asyncio.wait({self._supervisor})
        await self._intake.aclose()

    async def compare(self, ready: int | None, consumers: int | None) -> None:
        """Compare what the broker says of the queue with what is seen here; what was wrong twice in a row, is.

        Args:
            ready: How many messages wait there for a consumer.
            consumers: How many consumers it knows.
        """
        idle = self._intake.taken == self._taken_before and self._intake.unsettled < self._prefetch
        self._taken_before = self._intake.taken
        forgotten = consumers == 0 or (idle and bool(ready) and await self._nobody_is_at_it())
        self._doubts = self._doubts + 1 if forgotten and self.ready else 0
        if self._doubts >= DOUBTS_MAX:
            _log.warning("consumer_revived", subscriber=self.subscription.id, ready=ready, consumers=consumers)
            self._doubts = 0
            self._offences = max(self._offences, 1)  # it may be the queue that is damaged: tried apart first
            self._stalled = True
            self._interrupted.set()

    async def _nobody_is_at_it(self) -> bool:
        """Tell whether what is ready should have come here: of an ordered subscriber, another daemon may be at work."""
        with suppress(StoreUnavailableError):
            return self._intake.line is None or await self._intake.line.is_idle()
        return False

    def wake(self) -> None:
        """Try again at once: the connection is a new one."""
        self._interrupted.set()

    async def _supervise(self) -> None:
        failures = 0
        while not self.cancelled:
            await self._link.wait_up()
            self._since_s = math.inf
            refused = offended = False
            try:
                refused = await self._session()
            except (BrokerUnavailableError, StoreUnavailableError) as error:
                _log.debug("consumer_lost", subscriber=self.subscription.id, reason=str(error))
                if offended := offends(error):
                    _log.warning("subscriber_suspected", subscriber=self.subscription.id, reason=str(error.__cause__))
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would bring this subscriber back
                refused = True
                self._roll.answer(self)
                _log.exception("consumer_failed", subscriber=self.subscription.id, reason=str(error))
            if self._clock.monotonic_s() - self._since_s > STEADY_S:
                failures = self._offences = 0
            failures += 1
            self._offences += offended
            wait_s = self._quarantine_s if refused else backoff_s(failures, self._chance())
            await self._pause(max(wait_s, out_of_service_s(self._offences, self._quarantine_s)))

    async def _pause(self, wait_s: float) -> None:
        """Wait, but not beyond the connection: whatever is the matter, it may be another on the next one."""
        generation = self._link.generation
        due = False

        def ring() -> None:
            nonlocal due
            due = True
            self._interrupted.set()

        timer = self._clock.call_later(wait_s, ring)
        try:
            await self._until(lambda: due or self._cancelled or generation != self._link.generation)
        finally:
            timer.cancel()

    async def _session(self) -> bool:
        """Prepare and consume until the channel is lost; return whether the broker refuses us."""
        generation = self._link.generation
        answer = partial(self._answer, generation)
        trouble = await self._quarantine.trial(self.subscription, answer) if self._offences else ""
        if trouble:
            self._offences += 1
        else:
            trouble = await self._attach(generation)
        if trouble and trouble != self.trouble:
            _log.error("subscriber_out_of_service", subscriber=self.subscription.id, reason=trouble)
        self.trouble = trouble
        self._answer(generation)
        return bool(trouble)

    def _answer(self, generation: int) -> None:
        """Tell that our queue is there, or is refused, unless that was on a connection before this one."""
        if generation == self._link.generation:
            self._roll.answer(self)

    async def _attach(self, generation: int) -> str:
        try:
            trouble = await self._topology.prepare(self.subscription)
            if generation != self._link.generation:
                return ""  # it may be another broker by now
            self._roll.answer(self)
            if trouble:
                return trouble
            channel = await self._link.channel()
            try:
                return await self._serve(channel)
            finally:
                self._intake.abandon()
                self._channel, self._consumer_tag, self._stalled = None, "", False
                await close(channel)
        except REFUSALS as error:
            return explained(error, f"consume the queue {self._queue!r}")

    async def _serve(self, opened: AbstractChannel) -> str:
        opened.close_callbacks.add(lambda *_: self._interrupted.set())
        await call(opened.set_qos(self._prefetch), "set the prefetch")
        self._channel = channel = await underlay_of(opened)
        channel.on_consumer_cancel_callbacks.add(lambda _: self._interrupted.set())
        self._intake.attach(channel)
        while not self._cancelled and not channel.is_closed:
            self._interrupted.clear()
            await self._consume(channel)
            await self._until(lambda: channel.is_closed or self._cancelled or self._stalled or not channel.consumers)
            self._consumer_tag = ""
            if self._stalled:
                return ""
            if not channel.is_closed and not self._cancelled:
                # The broker ended it, as when the queue was deleted. What is under way can still be settled.
                _log.warning("consumer_cancelled_by_broker", subscriber=self.subscription.id)
                if trouble := await self._topology.prepare(self.subscription):
                    return trouble
        await self._until(lambda: channel.is_closed or self._intake.empty)
        if self._prefetch > ANSWERS_AT_ONCE and not channel.is_closed and not self._silent:
            await call(opened.set_qos(1), "set the prefetch")
            await until_answered(channel, self._queue)
            await self._until(lambda: channel.is_closed or self._intake.empty)
        return ""

    async def _consume(self, channel: aiormq.Channel) -> None:
        self._consumer_tag = await begin(channel, self._queue)
        self._since_s = self._clock.monotonic_s()
        self.trouble = ""
        self._intake.begin()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._interrupted.clear()
            await self._interrupted.wait()

    async def _end_consumption(self, channel: aiormq.Channel, tag: str) -> None:
        try:
            await end(channel, self._queue, tag)
        except (BrokerUnavailableError, *REFUSALS) as error:
            _log.debug("cancel_lost", subscriber=self.subscription.id, reason=str(error))
