"""One handling of one event: from its delivery to the verdict on it, with all that the handler gets."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

import svcs
from structlog.typing import FilteringBoundLogger

from daemon.activation import Activation, Trigger, activated
from daemon.clock import Clock
from daemon.errors import RunNotCompleted, StoreUnavailableError
from daemon.events import verdict as verdicts
from daemon.events.bus import Delivery
from daemon.events.model import DeadReason, Event
from daemon.events.outage import patiently
from daemon.events.payload import payload_of, wanted
from daemon.events.subscriber import Subscriber, SubscriberContext
from daemon.events.verdict import Verdict
from daemon.log import bind, get_logger
from daemon.staging import Staging
from daemon.store.model import RunStatus
from daemon.store.port import Store
from daemon.store.writes import Outcome, RecordHandled, StageEvent
from daemon.trace import Trace

MAX_CRASHES = 3

_log = get_logger(__name__)

T = TypeVar("T")
Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the dispatch of every subscriber works with.

    Attributes:
        app: The application's name: the source of what handlers emit, and owner of rows in the store.
        container: Makes a handler's container; it is closed when the handler has ended.
        poke: Called when something was staged for the outbox.
        max_payload_bytes: A body above this is not even decoded.
        owner: This process's id in the store: it publishes what is staged; empty: nobody in particular does.
        prefetch: How many deliveries of a subscriber may be unsettled here at one time, before its own share.
        chance: Random numbers from 0 to 1, for the jitter of retries.
    """

    app: str
    store: Store
    clock: Clock
    container: Callable[[], svcs.Container]
    poke: Callable[[], object]
    max_payload_bytes: int = 1_048_576
    owner: str = ""
    prefetch: int = 20
    chance: Callable[[], float] = random.random


@cache
def _logger_of(module: str) -> FilteringBoundLogger:
    return get_logger(module)


def identity_of(delivery: Delivery) -> Identity:
    """Return what makes two deliveries the same event to a subscriber."""
    envelope = delivery.message.envelope
    return envelope.source, envelope.name, envelope.id


def body_hash(delivery: Delivery) -> bytes:
    """Return what tells the bodies of two deliveries of one event apart, in other processes, too."""
    return blake2b(delivery.message.body, digest_size=8).digest()


def note_difference(delivery: Delivery) -> None:
    """Log that an event came again with another body."""
    envelope = delivery.message.envelope
    reason = "two deliveries with this source, name and id have different payloads; the first one counts"
    _log.warning(
        "event_differs",
        subscriber=delivery.subscriber,
        event_id=envelope.id,
        event_name=envelope.name,
        reason=reason,
    )


class Handling:
    """One handling of an event, and every delivery that shares its end.

    Attributes:
        first: The delivery that it began with.
        deliveries: Those that wait for its verdict, oldest first.
        trace: What the event belongs to, and with it everything that its handler sets off.
        is_lost: Whether it was cancelled because another process has the event.
        task: Runs it; set by whoever starts it, before anything else happens.
    """

    __slots__ = (
        "_activation",
        "_around",
        "_staging",
        "_subscriber",
        "_urgent",
        "deliveries",
        "expired",
        "first",
        "hurry",
        "identity",
        "is_lost",
        "task",
        "trace",
    )

    task: asyncio.Task[None]

    def __init__(
        self,
        first: Delivery,
        identity: Identity,
        subscriber: Subscriber[Any],
        around: Surroundings,
        *,
        hurry: Callable[[], bool],
    ) -> None:
        self.first = first
        self.identity = identity
        self.deliveries = [first]
        self.expired = False
        self.is_lost = False
        self.trace = Trace.of(first.message.envelope.headers, *identity)
        self.hurry = hurry
        self._staging: Staging | None = None
        self._activation: Activation | None = None
        self._urgent: list[asyncio.Task[None]] = []
        self._subscriber = subscriber
        self._around = around

    async def judge(self, options: Mapping[str, Any]) -> Verdict:
        """Handle the event, unless that is known to be done or cannot be, and return the verdict.

        The verdict "ok" is durable. Raises `CancelledError` when it is cancelled from outside, and nothing else.
        """
        if not wanted(self._subscriber, self.first.message.envelope.name):
            return verdicts.IGNORED
        try:
            try:
                known = await self._was_handled()
            except StoreUnavailableError as error:
                known = await self._patiently(self._was_handled, error)
            if known is not None:
                if known and known != body_hash(self.first):
                    note_difference(self.first)
                return verdicts.DUPLICATE
            if self.first.crashes >= MAX_CRASHES:
                return verdicts.dead(DeadReason.CRASHED, f"It was started {self.first.crashes} times and never ended.")
            payload = payload_of(self._subscriber, self.first.message, limit_bytes=self._around.max_payload_bytes)
            try:
                verdict = await self._call(payload, options)
            finally:
                if self._urgent:
                    await self._urgent_done()
            return verdict if await self._commit() else verdicts.DUPLICATE
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a handler raises is its event's failure
            return verdicts.of_error(error, self._subscriber.retry, self.first.attempt, self._around.chance())

    def confirm(self, taken: set[Delivery]) -> None:
        """Go on although another process may have begun with the event meanwhile; not if one has all its deliveries."""
        self.activation().may_defer = False
        if self.deliveries and taken.issuperset(self.deliveries):
            self.is_lost = True
            self.task.cancel()

    def _was_handled(self) -> Awaitable[bytes | None]:
        store = self._around.store
        if store.trouble:  # nothing begins whose outcome could not be recorded: the event stays where it is
            raise StoreUnavailableError(store.trouble)
        return store.handled(self._around.app, self._subscriber.id, *self.identity)

    async def _call(self, payload: Event | dict[str, Any], options: Mapping[str, Any]) -> Verdict:
        """Run the handler once, with its container and what else it finds around it."""
        subscriber, envelope, attempt = self._subscriber, self.first.message.envelope, self.first.attempt
        async with self._around.container() as container:
            arguments: tuple[Any, ...] = (payload,)
            if subscriber.takes_context:
                ctx = SubscriberContext(
                    container=container,
                    event=envelope,
                    attempt=attempt,
                    options=options,
                    log=_logger_of(subscriber.handler.__module__),
                    emit=self._emit,
                )
                arguments = (payload, ctx)
            with (
                activated(self),
                bind(
                    subscriber=subscriber.id,
                    event_id=envelope.id,
                    event_name=envelope.name,
                    attempt=attempt,
                    trace_id=self.trace.id,
                ),
            ):
                try:
                    await self._in_time(subscriber.handler(*arguments))
                except RunNotCompleted as error:
                    if RunStatus(error.status).ended:
                        raise
                    return verdicts.parked(error)  # the run goes on without the handler
        return verdicts.OK

    def activation(self) -> Activation:
        """Return what the runs that the handler starts derive their ids from; most handlers start none."""
        if self._activation is None:
            envelope, subscriber_id = self.first.message.envelope, self._subscriber.id
            headers = self.trace.headers(subscriber_id, *self.identity)
            trigger = Trigger("event", subscriber_id, envelope.id, envelope.correlation_id or envelope.id, **headers)
            # What is redelivered, a process may still be at that counts as dead.
            may_defer = not self.first.redelivered
            self._activation = Activation(trigger, self.identity, envelope.id, may_defer=may_defer)
        return self._activation

    async def _in_time(self, handler: Awaitable[object]) -> None:
        """Await the handler for as long as it may take, and tell apart who cancelled it."""
        timer, timeout = None, self._subscriber.timeout
        if timeout is not None:
            timer = self._around.clock.call_later(timeout.total_seconds(), self._expire)
        try:
            await handler
        except asyncio.CancelledError:
            if self.task.cancelling() > self.expired:
                raise  # a shutdown
            raise self._cancelled_inside() from None
        finally:
            if timer is not None:
                timer.cancel()
                if self.expired:
                    self.task.uncancel()

    def _expire(self) -> None:
        self.expired = True
        self.task.cancel()

    def _cancelled_inside(self) -> Exception:
        timeout = self._subscriber.timeout
        if self.expired and timeout is not None:
            return TimeoutError(f"subscriber {self._subscriber.id!r} did not end within {timeout.total_seconds():g} s")
        return RuntimeError("something that the handler awaited was cancelled, though nobody cancelled the handler")

    # --- what the handler emits, and that it is done ---

    def _emit(self, event: Event, immediately: bool) -> None:  # noqa: FBT001 - as contexts call it
        if self._staging is None:
            self._staging = Staging(
                app=self._around.app,
                owner=self._around.owner,
                origin="\x00".join((self._subscriber.id, *self.identity, str(self.first.attempt))),
                clock=self._around.clock,
                cause=self.first.message.envelope,
                commit_now=self._commit_soon,
                max_payload_bytes=self._around.max_payload_bytes,
                trace=self.trace,
            )
        self._staging.emit(event, immediately)

    def _commit_soon(self, write: StageEvent) -> None:
        self._urgent.append(asyncio.get_running_loop().create_task(self._commit_urgent(write)))

    async def _urgent_done(self) -> None:
        done, _ = await asyncio.wait(self._urgent)
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    async def _commit_urgent(self, write: StageEvent) -> None:
        await self._patiently(lambda: self._around.store.commit(write))
        self._around.poke()

    async def _commit(self) -> bool:
        """Make durable that the event was handled, and what was emitted; False if another handling was faster."""
        around, (source, name, event_id) = self._around, self.identity
        now_us, hashed = around.clock.now_us(), body_hash(self.first)
        handled = RecordHandled(around.app, self._subscriber.id, source, name, event_id, now_us, hashed)
        staged = self._staging.writes if self._staging is not None else ()
        try:
            outcome = await around.store.commit(handled, *staged)
        except StoreUnavailableError as error:
            outcome = await self._patiently(lambda: around.store.commit(handled, *staged), error)
        if staged and outcome is Outcome.APPLIED:
            around.poke()
        return outcome is Outcome.APPLIED

    def _patiently(self, attempt: Callable[[], Awaitable[T]], failed: Exception | None = None) -> Awaitable[T]:
        return patiently(attempt, clock=self._around.clock, hurry=self.hurry, failed=failed)
