"""Deliveries that the store keeps, because the broker cannot: until they go back to it.

    a wait that no wait queue fits -----> kept, nobody's --- due -------------------> published to its queue again
    unanswered for too long ------------> parked, ours --+-- done ------------------> taken off
                                                         +-- retried or released ---> kept, nobody's
                                                         +-- its process died ------> published, as interrupted
    the same of an ordered subscriber --> parked, nobody's --- its turn ------------> handled, or handed over from here

The broker takes the channel from whoever leaves a delivery unanswered for longer than `consumer_timeout`. What takes
half of that is put here, and then acknowledged. Nothing is acknowledged before the commit. What an ordered subscriber
has here comes before everything on its queue, so none of it ever goes back there: see `line`.

What was left on the queues of the embedded bus, when the application used that one before, is published as well.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from daemon.clock import Clock, from_us
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.embedded.rows import message_of_row, row_of
from daemon.events.model import Message
from daemon.events.rabbitmq import headers, wire
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.outgoing import encode, iso
from daemon.events.rabbitmq.publisher import HeadersTooLargeError, Publisher
from daemon.events.rabbitmq.topology import Topology
from daemon.log import get_logger
from daemon.store.model import QueuedDelivery
from daemon.store.port import Store
from daemon.store.writes import Enqueue, Outcome, SettleDelivery, UpdateDelivery

LOOK_S = 5.0
BATCH = 100

_log = get_logger(__name__)


class Shelf:
    """The store's part of all subscribers' deliveries, and the pump that empties it.

    Args:
        owner: This process's id in the store, whose lease says that it lives.
        subscribers: Tells those that are consumed here; of those that are ordered, whom to tell that something is here.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        topology: Topology,
        publisher: Publisher,
        owner: str,
        subscribers: Callable[[], Mapping[str, Callable[[], object] | None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._topology = topology
        self._publisher = publisher
        self._owner = owner
        self._subscribers = subscribers
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._publishing: dict[str, asyncio.Task[None]] = {}  # by subscriber: nobody waits for another's queue

    def start(self) -> None:
        """Begin to publish what is due."""
        self._task = asyncio.create_task(self._run(), name="rabbitmq-shelf")

    def look(self) -> None:
        """See what is here now: a subscriber is new."""
        self._woken.set()

    async def aclose(self) -> None:
        """Stop publishing."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        if publishing := [*self._publishing.values()]:
            for task in publishing:
                task.cancel()
            await asyncio.wait(publishing)

    # --- deliveries ---

    async def keep(self, subscriber: str, message: Message, body: bytes, properties: Properties, **row: int) -> None:
        """Have an event wait; returns once that is durable."""
        await self._store.commit(Enqueue((self._row(subscriber, message, body, properties, **row),)))
        self._woken.set()

    async def park(
        self, subscriber: str, message: Message, body: bytes, properties: Properties, *, owner: str, **row: int
    ) -> QueuedDelivery:
        """Put an event here that goes on here; returns once that is durable."""
        parked = replace(self._row(subscriber, message, body, properties, **row), owner=owner)
        return replace(parked, seq=await self._store.park(parked))

    async def settle(self, row: QueuedDelivery) -> bool:
        """Take off what is done; False if somebody else has taken it over."""
        return await self._store.commit(SettleDelivery(row.seq, row.owner)) is Outcome.APPLIED

    async def release(self, row: QueuedDelivery, *, interrupted: bool) -> bool:
        """Have what was parked come again as it was; False if somebody else has taken it over."""
        again = replace(row, owner="", deliveries=int(interrupted))
        applied = await self._store.commit(UpdateDelivery(again, row.owner)) is Outcome.APPLIED
        self._woken.set()
        return applied

    async def put_back(self, row: QueuedDelivery, *, attempt: int, delay_s: float, error: str) -> bool:
        """Have what was parked come again, as another attempt; False if somebody else has taken it over."""
        due_us = self._clock.now_us() + round(delay_s * 1_000_000)
        again = replace(row, owner="", deliveries=0, attempt=attempt, due_us=due_us, error=error)
        applied = await self._store.commit(UpdateDelivery(again, row.owner)) is Outcome.APPLIED
        self._woken.set()
        return applied

    # --- an ordered subscriber's, which nobody has while it is its turn ---

    async def first(self, subscriber: str) -> tuple[QueuedDelivery | None, float]:
        """Take over what is first of an ordered subscriber; else tell when to look again, in seconds, 0: not at all."""
        depths = await self._store.queue_depths(self._topology.app)
        ready, owned, _ = depths.get(subscriber, (0, 0, 0))
        if not ready + owned:
            return None, 0
        now_us, app = self._clock.now_us(), self._topology.app
        taken = await self._store.take(app, subscriber, self._owner, limit=1, now_us=now_us, ordered=True)
        return (taken[0], 0) if taken else (None, await self._wait_s([subscriber], ordered=True))

    async def keep_first(self, row: QueuedDelivery, *, attempt: int, due_us: int) -> QueuedDelivery | None:
        """Have the first wait where it is for its next attempt; None if somebody else has taken it over."""
        again = replace(row, owner="", attempt=attempt, due_us=due_us)
        applied = await self._store.commit(UpdateDelivery(again, row.owner)) is Outcome.APPLIED
        return again if applied else None

    def _row(
        self, subscriber: str, message: Message, body: bytes, properties: Properties, **changes: int
    ) -> QueuedDelivery:
        row = row_of(message, app=self._topology.app, subscriber=subscriber, now_us=self._clock.now_us())
        row.body, row.properties = body, properties.marshal()
        return replace(row, **changes)  # type: ignore[arg-type] # times and the attempt

    # --- the pump ---

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            wait_s = LOOK_S
            try:
                wait_s = await self._publish_due()
            except (BrokerUnavailableError, StoreUnavailableError) as error:
                _log.debug("shelf_waits", reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, nobody else would publish what waits here
                _log.exception("shelf_failed")
            timer = self._clock.call_later(wait_s, self._woken.set)
            await self._woken.wait()
            timer.cancel()

    async def _publish_due(self) -> float:
        """Publish what is due, and what dead processes left; return when to look again, in seconds."""
        here = self._subscribers()
        depths = await self._store.queue_depths(self._topology.app)
        filled = [
            subscriber
            for subscriber, (ready, owned, _) in depths.items()
            if subscriber in here and ready + owned and subscriber not in self._publishing
        ]
        for subscriber in [*filled]:
            if (tell := here[subscriber]) is not None:
                tell()
                filled.remove(subscriber)
                continue
            now_us = self._clock.now_us()
            taken = await self._store.take(self._topology.app, subscriber, self._owner, limit=BATCH, now_us=now_us)
            if taken:
                filled.remove(subscriber)
                self._publishing[subscriber] = asyncio.create_task(self._publish_all(subscriber, taken))
        return await self._wait_s(filled)

    async def _publish_all(self, subscriber: str, taken: Sequence[QueuedDelivery]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for row in taken:
                    group.create_task(self._publish(row))
        except* StoreUnavailableError as errors:
            _log.debug("shelf_waits", reason=str(errors.exceptions[0]))
        except* Exception:  # noqa: BLE001 - as above
            _log.exception("shelf_failed")
        finally:
            del self._publishing[subscriber]
            self._woken.set()

    async def _wait_s(self, subscribers: Sequence[str], *, ordered: bool = False) -> float:
        """Return when to look again, in seconds, for what is due of these by then."""
        due_us = await self._store.next_due_us(self._topology.app, subscribers, ordered=ordered)
        if due_us is None:
            return LOOK_S
        return min(LOOK_S, max(0.05, (due_us - self._clock.now_us()) / 1_000_000))

    async def _publish(self, row: QueuedDelivery) -> None:
        """Give an event back to the broker; leave it here if that does not take it."""
        try:
            published = await self._publisher.publish("", self._topology.queue(row.subscriber), *_amqp(row))
            reason = "" if published else "its queue is not there"
        except (BrokerUnavailableError, HeadersTooLargeError) as error:
            published, reason = False, str(error)
        if published:
            await self.settle(row)
            return
        _log.warning("event_stays_in_store", subscriber=row.subscriber, event_id=row.event_id, reason=reason)
        due_us = self._clock.now_us() + round(LOOK_S * 1_000_000)
        again = replace(row, owner="", due_us=due_us, deliveries=row.deliveries - 1)
        await self._store.commit(UpdateDelivery(again, self._owner))


def _amqp(row: QueuedDelivery) -> tuple[Properties, bytes]:
    """Return a row as a message to its subscriber's queue."""
    if row.properties is not None:
        properties = Properties.parse(row.properties)
    else:
        properties = encode(message_of_row(row))
        properties.set_header(headers.EXCHANGE, "")
        properties.set_header(headers.ROUTING_KEY, row.event_name)
        properties.set_header(headers.FIRST_SEEN, iso(from_us(row.first_seen_us)))
    properties.set_header(headers.ATTEMPTS, row.attempt - 1)
    if row.deliveries > 1:
        properties.set_header(headers.INTERRUPTED, 1)
    return properties, row.body


def incoming_of(row: QueuedDelivery, queue: str) -> wire.Incoming:
    """Return a row as a message that was taken from its subscriber's queue."""
    properties, body = _amqp(row)
    return wire.Incoming(queue, "", queue, properties, body, redelivered=row.deliveries > 1)
