"""What came from one subscriber's queue and is not settled yet."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import aiormq

from daemon.clock import Clock
from daemon.events.bus import Delivery
from daemon.events.handling import MAX_CRASHES
from daemon.events.outage import patiently
from daemon.events.rabbitmq import wire
from daemon.events.rabbitmq.delivery import Office, RabbitDelivery
from daemon.events.rabbitmq.frames import Delivered, Lane
from daemon.events.rabbitmq.identity import fingerprint, renamed
from daemon.events.rabbitmq.line import Line
from daemon.events.rabbitmq.patience import Patience
from daemon.events.rabbitmq.publisher import Publisher
from daemon.events.rabbitmq.reading import read
from daemon.events.rabbitmq.receipts import Receipts
from daemon.events.rabbitmq.shelf import Shelf, incoming_of
from daemon.events.rabbitmq.suspects import Suspects
from daemon.events.rabbitmq.topology import Topology
from daemon.events.rabbitmq.transport import lane_of
from daemon.events.rabbitmq.turn import Turn
from daemon.log import get_logger
from daemon.store.model import QueuedDelivery

_log = get_logger(__name__)


class Intake:
    """Turns what is delivered on a lane into deliveries, and keeps account of them.

    Attributes:
        taken: How many there were.

    Args:
        subscriber: Whose queue it is.
        receive: Takes deliveries over.
        receipts: Keeps what has to be known of deliveries when this process has died.
        shelf: Keeps what the broker cannot.
        alone: Held by the one delivery of all subscribers that was started before without an end.
        turn: Of an ordered subscriber.
        max_payload_bytes: Longest body.
        hold_max_s: Longest time to keep a delivery unanswered: the broker takes the channel from who exceeds its limit.
        emptied: Called when nothing is unsettled any more.
    """

    def __init__(
        self,
        subscriber: str,
        receive: Callable[[Delivery], None],
        *,
        topology: Topology,
        publisher: Publisher,
        receipts: Receipts,
        shelf: Shelf,
        alone: asyncio.Lock,
        clock: Clock,
        chance: Callable[[], float],
        turn: Turn | None,
        max_payload_bytes: int,
        hold_max_s: float,
        emptied: Callable[[], None],
    ) -> None:
        self.taken = 0
        self._closed = False
        self._lane: Lane | None = None
        self._queue = topology.queue(subscriber)
        self._clock = clock
        self._max_payload_bytes = max_payload_bytes
        self._emptied = emptied
        self._unsettled: dict[int, RabbitDelivery] = {}
        self._receipts = receipts
        self._giving_up = asyncio.Lock()  # one at a time: they may be large
        self._tasks: set[asyncio.Task[object]] = set()
        self._suspects = Suspects(receive, receipts, alone, self._spawn)
        self._line: Line | None = None
        if turn is not None:
            self._line = Line(
                subscriber,
                turn=turn,
                shelf=shelf,
                suspects=self._suspects,
                receipts=receipts,
                clock=clock,
                chance=chance,
                made=self._from_store,
                again=self._again,
                spawn=self._spawn,
            )
        self._patience = Patience(
            self._unsettled.values,
            self._answered,
            owner=receipts.owner,
            line=self._line,
            clock=clock,
            max_s=hold_max_s,
            spawn=self._spawn,
        )
        self._office = Office(
            subscriber,
            topology,
            publisher,
            shelf,
            clock,
            settled=self._settled,
            released=self._released,
            lost=self._ended,
            passed_on=self._passed_on,
            hold=self._line.hold if self._line is not None else None,
        )

    @property
    def empty(self) -> bool:
        """Whether everything is settled."""
        return not self._unsettled

    @property
    def line(self) -> Line | None:
        """Of an ordered subscriber."""
        return self._line

    @property
    def unsettled(self) -> int:
        """How many deliveries the broker waits for."""
        return len(self._unsettled)

    def attach(self, channel: aiormq.Channel) -> None:
        """Take over what is delivered on this channel, from `begin` on."""
        self._lane = lane_of(channel, self.take)

    def begin(self) -> None:
        """Take over what comes, and what has come since `attach`."""
        if self._lane is not None:
            self._lane.begin()

    def take(self, lane: Lane, delivered: Delivered) -> None:
        """Take a message over, in the order in which they come."""
        self.taken += 1
        if self._closed and self._line is not None:
            return  # what came too late goes back with the channel
        now_us = self._clock.now_us()
        incoming = wire.Incoming.taken(delivered, self._queue)
        message, problem, anonymous = read(incoming, now_us=now_us, max_payload_bytes=self._max_payload_bytes)
        first_seen_us = incoming.first_seen_us(now_us)
        delivery = RabbitDelivery(self._office, lane, delivered.tag, incoming, message, first_seen_us=first_seen_us)
        self._unsettled[delivered.tag] = delivery
        self._patience.watch()
        source = lane, delivered.consumer
        if anonymous and problem is None:
            self._spawn(self._name(delivery, source))
        else:
            self._go_on(delivery, problem, source)

    def _from_store(self, row: QueuedDelivery) -> RabbitDelivery | None:
        """Return what the store has as a delivery of ours."""
        incoming = incoming_of(row, self._queue)
        now_us = self._clock.now_us()
        message, problem, _ = read(incoming, now_us=now_us, max_payload_bytes=self._max_payload_bytes)
        seen_us = row.first_seen_us
        delivery = RabbitDelivery(self._office, None, 0, incoming, message, first_seen_us=seen_us, row=row)
        delivery.attempt = row.attempt
        if problem is None:
            return delivery
        self._spawn(self._give_up(delivery, problem))
        return None

    async def _name(self, delivery: RabbitDelivery, source: object) -> None:
        """Have an event that came without an id keep the one that it was given, before anybody sees it."""
        fresh, mark = delivery.message.envelope, fingerprint(delivery.incoming)
        delivery.receipt = receipt = await self._receipts.name(fresh, mark, redelivered=delivery.redelivered)
        if receipt.event_id != fresh.id:
            delivery.message = renamed(delivery.message, receipt.event_id)
        if self._has(delivery):
            self._go_on(delivery, None, source)
        else:
            self._return(delivery)

    def _go_on(self, delivery: RabbitDelivery, problem: wire.UndecodableError | None, source: object) -> None:
        if self._closed:
            self._spawn(delivery.release())
        elif problem is not None:
            self._spawn(self._give_up(delivery, problem))
        elif self._line is not None:
            self._line.take(delivery, source)
        else:
            self._suspects.take(delivery)

    def close(self) -> None:
        """Hand nothing over any more: what comes, or waits here, goes back."""
        self._closed = True
        waiting = self._line.close() if self._line is not None else []
        for delivery in (*waiting, *self._suspects.close()):
            self._spawn(delivery.release())

    def abandon(self) -> None:
        """Forget what came on the channel, for that is lost: it comes again."""
        if self._lane is not None:
            self._lane.end()
            self._lane = None
        unsettled = list(self._unsettled.values())
        self._unsettled.clear()
        if self._line is not None:
            self._line.lost()
        self._suspects.lost()
        for delivery in unsettled:
            self._return(delivery)

    async def aclose(self) -> None:
        """End what is done here in the background."""
        self._patience.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._line is not None:
            await self._line.aclose()
        await self._receipts.aclose()

    def _settled(self, delivery: RabbitDelivery) -> None:
        # Of what the store had in order, another process may have noted something before.
        if self._forget(delivery) and (delivery.receipt is not None or (self._line is not None and delivery.row)):
            self._receipts.later_forget(delivery.message.envelope)
        self._ended(delivery)

    async def _passed_on(self, delivery: RabbitDelivery) -> None:
        receipt = delivery.receipt
        if receipt is not None and delivery.crashes >= MAX_CRASHES and not receipt.mark:
            delivery.receipt = None  # stays until it is replayed: whoever has it next must not start it thrice again
        elif receipt is not None:
            await self._receipts.forget(delivery.message.envelope)

    def _released(self, delivery: RabbitDelivery) -> None:
        if self._forget(delivery):
            if not delivery.redelivered and delivery.row is None:  # which is not marked when it comes again
                # Its first start, which nobody counted, was no crash: whoever has it next is told so.
                delivery.receipt = replace(
                    delivery.receipt or self._receipts.fresh(delivery.message.envelope), starts=-1
                )
            self._return(delivery)
        self._ended(delivery)

    def _ended(self, delivery: RabbitDelivery) -> None:
        if self._line is not None:
            self._line.ended(delivery)

    def _return(self, delivery: RabbitDelivery) -> None:
        self._receipts.later_return(delivery.receipt, begun=delivery.begun)

    def _has(self, delivery: RabbitDelivery) -> bool:
        """Tell whether it is unsettled: not of a channel before this one, on which the tag was another message."""
        return self._unsettled.get(delivery.tag) is delivery

    def _forget(self, delivery: RabbitDelivery) -> bool:
        if not self._has(delivery) and delivery.row is None:
            return False
        self._suspects.ended(delivery)
        self._answered(delivery)
        return True

    def _answered(self, delivery: RabbitDelivery) -> None:
        """Note that the broker does not wait for an answer any more."""
        if self._has(delivery):
            del self._unsettled[delivery.tag]
            if not self._unsettled:
                self._emptied()

    async def _give_up(self, delivery: RabbitDelivery, problem: wire.UndecodableError) -> None:
        envelope = delivery.message.envelope
        _log.info(
            "event_dead_lettered",
            subscriber=delivery.subscriber,
            event_id=envelope.id,
            event_name=envelope.name,
            attempt=delivery.attempt,
            outcome="dead_lettered",
            reason=str(problem.reason),
            error=str(problem),
        )
        async with self._giving_up:
            await patiently(lambda: delivery.dead_letter(problem.reason, error=str(problem)), clock=self._clock)

    def _again(self, delivery: RabbitDelivery, waiting: RabbitDelivery) -> bool:
        """Have another attempt take a delivery's place, if its message is still ours."""
        if self._has(delivery):
            self._unsettled[delivery.tag] = waiting
        return self._has(waiting) or waiting.row is not None

    def _spawn(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
