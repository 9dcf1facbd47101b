"""One delivery and its four ends: acknowledged, waiting, dead-lettered, released."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from daemon.clock import Clock
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.model import Message
from daemon.events.rabbitmq import headers, wire
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.frames import Lane
from daemon.events.rabbitmq.onward import clipped, noted, publish_readable
from daemon.events.rabbitmq.outgoing import iso
from daemon.events.rabbitmq.publisher import HeadersTooLargeError, Publisher
from daemon.events.rabbitmq.shelf import Shelf
from daemon.events.rabbitmq.topology import Topology, tier_ms
from daemon.events.verdict import TRACEBACK_MAX_BYTES
from daemon.log import get_logger
from daemon.store.model import QueuedDelivery, Receipt

AT_ONCE_MS = 50
DEAD_LETTER_TRIES = 2
PARKED_HEADERS_MAX_BYTES = 65_536  # so that they fit into a frame whatever is added

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Office:
    """What the deliveries of one subscriber settle with.

    Attributes:
        hold: Keeps a delivery of an ordered subscriber and hands it over again, or notes what is to become of one that
            is lost; tells whether it has it. None where retries wait in the broker.
        settled: Told of each delivery whose message is done with here.
        released: Told of each delivery whose message comes again.
        lost: Told of each delivery that somebody was through with too late: its message is the broker's again.
        passed_on: Awaited between the confirmation that a copy is elsewhere, with its id, and letting the original go.
    """

    subscriber: str
    topology: Topology
    publisher: Publisher
    shelf: Shelf
    clock: Clock
    settled: Callable[["RabbitDelivery"], None]
    released: Callable[["RabbitDelivery"], None]
    lost: Callable[["RabbitDelivery"], None]
    passed_on: Callable[["RabbitDelivery"], Awaitable[None]]
    hold: Callable[["RabbitDelivery", float, int], Awaitable[bool]] | None = None


class RabbitDelivery:
    """A message that the broker lent us on one channel, or that the store has: then `row` says where.

    When the channel is gone the message is the broker's again and comes once more: whatever is done with this
    delivery then does nothing. In particular it publishes no second copy.
    """

    __slots__ = (
        "_office",
        "_parking",
        "_settling",
        "attempt",
        "begun",
        "crashes",
        "first_seen_us",
        "incoming",
        "lane",
        "message",
        "receipt",
        "received_s",
        "redelivered",
        "row",
        "subscriber",
        "tag",
    )

    def __init__(
        self,
        office: Office,
        lane: Lane | None,
        tag: int,
        incoming: wire.Incoming,
        message: Message,
        *,
        first_seen_us: int,
        row: QueuedDelivery | None = None,
    ) -> None:
        self.subscriber = office.subscriber
        self.message = message
        self.attempt = incoming.attempt
        self.first_seen_us = first_seen_us
        self.redelivered = incoming.interrupted
        self.incoming = incoming
        self.lane = lane
        self.receipt: Receipt | None = None  # what the store keeps of it, if anything
        self.received_s = office.clock.monotonic_s()
        self.row = row  # where it is parked: the broker has been told that it is done
        self._parking: asyncio.Task[None] | None = None
        self.begun = False  # whether that counts the start that is going on
        self.crashes = 0
        self._office = office
        self.tag = tag
        self._settling = False

    @property
    def _lent(self) -> bool:
        return self.lane is not None and not self.lane.is_closed

    @property
    def parking(self) -> asyncio.Task[None] | None:
        """What is putting it into the store."""
        return self._parking if self._parking is not None and not self._parking.done() else None

    def begin(self, receipt: Receipt) -> None:
        """Note that the start which is going on is counted, as the receipt says."""
        self.receipt = receipt
        self.begun = True
        self.crashes = receipt.starts  # without this one, and with the first of all, which left no trace

    def again(self, receipt: Receipt) -> "RabbitDelivery":
        """Return the same delivery, not settled, as the attempt that the receipt says."""
        seen_us = receipt.first_seen_us
        same = RabbitDelivery(
            self._office, self.lane, self.tag, self.incoming, self.message, first_seen_us=seen_us, row=self.row
        )
        same.attempt, same.receipt, same.received_s = receipt.attempt, receipt, self.received_s
        return same

    async def ack(self) -> bool:
        if self._lent and self.row is None and self._parking is None and not self._settling:
            self._settling = True
            return self._answer(Lane.ack)
        with self._again_if_away():
            return await self._begin() and await self._acknowledge()

    async def release(self) -> bool:
        with self._again_if_away():
            if not await self._begin():
                return False
            if self.row is not None:
                released = await self._office.shelf.release(self.row, interrupted=self.redelivered)
            else:
                released = self.lane is not None and self.lane.requeue(self.tag)
            self._office.released(self)
            return released

    async def retry(self, delay_s: float, *, attempt: int, error: str) -> bool:
        with self._again_if_away():
            if self._office.hold is not None:
                return await self._first() and await self._office.hold(self, delay_s, attempt)
            if not await self._begin():
                return False
            if self.row is not None:
                await self._office.passed_on(self)
                put_back = await self._office.shelf.put_back(self.row, attempt=attempt, delay_s=delay_s, error=error)
                self._office.settled(self)
                return put_back
            try:
                await self._have_it_wait(delay_s, attempt, self._properties(attempts=attempt - 1, error=error))
                await self._office.passed_on(self)
                return await self._acknowledge()
            except HeadersTooLargeError:
                return await self._refuse()

    def park(self, owner: str, *, started: bool) -> asyncio.Task[None] | None:
        """Have it go on here without the broker, which would lose its patience; None if that is under way, or done.

        `owner`: who has it in the store; empty: nobody, it is whoever's turn it is.
        """
        if self._settling or self._parking is not None or not self._lent:
            return None
        self._parking = parking = asyncio.create_task(self._park(owner, int(started or self.redelivered)))
        parking.add_done_callback(self._parked)
        return parking

    def _parked(self, parking: asyncio.Task[None]) -> None:
        if self.row is None:
            self._parking = None  # to be tried again
        if not parking.cancelled() and (error := parking.exception()) is not None:
            _log.warning("event_not_parked", subscriber=self.subscriber, reason=str(error))

    async def _park(self, owner: str, deliveries: int) -> None:
        properties = self._properties(attempts=self.attempt - 1, error="")
        if len(properties.marshal()) > PARKED_HEADERS_MAX_BYTES:
            return
        self.row = await self._office.shelf.park(
            self.subscriber,
            self.message,
            self.incoming.body,
            properties,
            owner=owner,
            deliveries=deliveries,
            attempt=self.attempt,
            first_seen_us=self.first_seen_us,
            due_us=self.receipt.due_us if self.receipt is not None else 0,
        )
        if self.lane is None or not self.lane.ack(self.tag):
            row, self.row = self.row, None
            await self._office.shelf.settle(row)  # the broker has it, and delivers it again

    async def dead_letter(self, reason: str, *, error: str, traceback: str = "") -> bool:
        with self._again_if_away():
            return await self._begin() and await self._bury(reason, error, traceback)

    async def _bury(self, reason: str, error: str, traceback: str) -> bool:
        properties = self._properties(attempts=self.attempt, error=error)
        properties.set_header(headers.REASON, str(reason))
        properties.set_header(headers.DEAD_AT, iso(self._office.clock.now()))
        if traceback:
            properties.set_header(headers.TRACEBACK, clipped(traceback, TRACEBACK_MAX_BYTES, keep_end=True))
        dead = self._office.topology.dead(self.subscriber)
        for _ in range(DEAD_LETTER_TRIES):
            try:
                if not self.incoming.malformed and await self._publish("", dead, properties):
                    await self._office.passed_on(self)
                    return await self._acknowledge()
                await self._office.topology.prepare_dead(self.subscriber)
            except (BrokerUnavailableError, HeadersTooLargeError) as problem:
                _log.debug("dead_letter_unconfirmed", subscriber=self.subscriber, reason=str(problem))
        return await self._refuse()

    async def _have_it_wait(self, delay_s: float, attempt: int, properties: Properties) -> None:
        """Put a copy where it waits: at the broker, or in the store where the broker has no such wait."""
        topology, delay_ms = self._office.topology, math.ceil(delay_s * 1_000)
        queue, tier = topology.queue(self.subscriber), tier_ms(delay_ms)
        if delay_ms < AT_ONCE_MS:
            exchange = ""
        elif tier is None:
            due_us = self._office.clock.now_us() + round(delay_s * 1_000_000)
            kept = {"attempt": attempt, "due_us": due_us, "first_seen_us": self.first_seen_us}
            return await self._office.shelf.keep(self.subscriber, self.message, self.incoming.body, properties, **kept)
        else:
            properties = replace(properties, fields=dict(properties.fields), headers=dict(properties.headers))
            properties.set_text("expiration", str(delay_ms))
            if trouble := await topology.prepare_tier(tier):
                raise BrokerUnavailableError(trouble)
            exchange = topology.tier(tier)
        if not await self._publish(exchange, queue, properties):
            topology.forget()
            raise BrokerUnavailableError(f"RabbitMQ has no queue in which {queue!r} could wait.")
        return None

    async def _publish(self, exchange: str, routing_key: str, properties: Properties) -> bool:
        return await publish_readable(self._office.publisher, exchange, routing_key, properties, self.incoming.body)

    def _properties(self, *, attempts: int, error: str) -> Properties:
        seen_us, event_id = self.first_seen_us, self.message.envelope.id
        return noted(self.incoming, event_id, attempts=attempts, first_seen_us=seen_us, error=error)

    async def _begin(self) -> bool:
        """Tell whether this is the first to settle it, and the broker still wants to know, or the store."""
        if not await self._first():
            return False
        if self.row is None and not self._lent:
            self._office.lost(self)
            return False
        return True

    @contextmanager
    def _again_if_away(self) -> Iterator[None]:
        """Let it be settled once more where the broker or the store was away."""
        try:
            yield
        except (BrokerUnavailableError, StoreUnavailableError):
            self._settling = False
            raise

    async def _first(self) -> bool:
        if self._parking is not None:
            await asyncio.wait({self._parking})
        if self._settling:
            return False
        self._settling = True
        return True

    async def _acknowledge(self) -> bool:
        if self.row is None:
            return self._answer(Lane.ack)
        settled = await self._office.shelf.settle(self.row)
        self._office.settled(self)
        return settled

    async def _refuse(self) -> bool:
        """Leave it to the broker to dead-letter it, without our reasons."""
        if self.row is not None:
            raise BrokerUnavailableError("RabbitMQ does not take the dead letter of an event that it was told is done.")
        return self._answer(Lane.reject)

    def _answer(self, answer: Callable[[Lane, int], bool]) -> bool:
        """Answer the broker; False if it hears of none any more, and delivers the message again."""
        answered = self.lane is not None and answer(self.lane, self.tag)
        (self._office.settled if answered else self._office.lost)(self)
        return answered
