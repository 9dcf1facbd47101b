"""What came from one subscriber's queue and is not settled yet."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace

import aiormq
from aiormq.abc import DeliveredMessage

from daemon.clock import Clock, Timer, new_id
from daemon.events.bus import Delivery
from daemon.events.model import Envelope, Message
from daemon.events.rabbitmq import wire
from daemon.events.rabbitmq.delivery import Office, RabbitDelivery
from daemon.events.rabbitmq.identity import fingerprint, renamed
from daemon.events.rabbitmq.publisher import Publisher
from daemon.events.rabbitmq.receipts import Receipts
from daemon.events.rabbitmq.shelf import Shelf
from daemon.events.rabbitmq.suspects import Suspects
from daemon.events.rabbitmq.topology import Topology
from daemon.log import get_logger
from daemon.store.model import Receipt

PARKED_FROM = 0.75  # of the longest time that something may be unanswered

_log = get_logger(__name__)


class Intake:
    """Turns what the library delivers into deliveries, and keeps account of them.

    Args:
        subscriber: Whose queue it is.
        receive: Takes deliveries over.
        receipts: Keeps what has to be known of deliveries when this process has died.
        shelf: Keeps what the broker cannot.
        alone: Held by the one delivery of all subscribers that was started before without an end.
        ordered: Retries wait here, unanswered, so that nothing overtakes them.
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
        ordered: bool,
        max_payload_bytes: int,
        hold_max_s: float,
        emptied: Callable[[], None],
    ) -> None:
        self._closed = False
        self._woken = asyncio.Event()
        self._queue = topology.queue(subscriber)
        self._clock = clock
        self._chance = chance
        self._max_payload_bytes = max_payload_bytes
        self._hold_max_s = hold_max_s
        self._emptied = emptied
        self._ordered = ordered
        hold = self._hold if ordered else None
        self._office = Office(
            subscriber, topology, publisher, shelf, clock, self._settled, self._released, self._passed_on, hold
        )
        self._unsettled: dict[int, RabbitDelivery] = {}
        self._receipts = receipts
        self._naming = asyncio.Lock()
        self._giving_up = asyncio.Lock()  # one at a time: they may be large
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._suspects = Suspects(receive, receipts, alone, self._spawn)

    @property
    def empty(self) -> bool:
        """Whether everything is settled."""
        return not self._unsettled

    @property
    def unsettled(self) -> int:
        """How many deliveries the broker waits for."""
        return len(self._unsettled)

    def take(self, channel: aiormq.Channel, delivered: DeliveredMessage) -> None:
        """Take a message over. Runs in the library's own task, which it cancels as it likes: nothing is awaited."""
        tag = delivered.delivery_tag
        if tag is None or channel.is_closed or (self._closed and self._ordered):
            return  # what came too late goes back with the channel
        now_us = self._clock.now_us()
        incoming = wire.Incoming.of(delivered, self._queue)
        anonymous = False

        def missing_id() -> str:
            nonlocal anonymous
            anonymous = True
            return new_id(now_us)

        problem: wire.UndecodableError | None = None
        try:
            message = wire.decode(
                incoming, now_us=now_us, max_payload_bytes=self._max_payload_bytes, missing_id=missing_id
            )
        except Exception as error:  # noqa: BLE001 - it came from anybody: whatever it does to us, it must not stay here
            unforeseen = f"{type(error).__name__}: {error}"
            problem = error if isinstance(error, wire.UndecodableError) else wire.UndecodableError(unforeseen)
            event_id, name = wire.identify(incoming)
            message = Message(Envelope(event_id or missing_id(), name, self._clock.now(), ""), incoming.body)
        if problem is None and len(message.body) > self._max_payload_bytes:
            problem = wire.too_large("payload", len(message.body), self._max_payload_bytes)
        first_seen_us = incoming.first_seen_us(now_us)
        delivery = RabbitDelivery(self._office, channel, tag, incoming, message, first_seen_us=first_seen_us)
        self._unsettled[tag] = delivery
        self._watch()
        if anonymous and problem is None:
            self._spawn(self._name(delivery))
        else:
            self._go_on(delivery, problem)

    async def _name(self, delivery: RabbitDelivery) -> None:
        """Have an event that came without an id keep the one that it was given, before anybody sees it."""
        fresh, mark = delivery.message.envelope, fingerprint(delivery.incoming)
        async with contextlib.AsyncExitStack() as stack:
            if delivery.redelivered:
                await stack.enter_async_context(self._naming)  # the first that came gets the oldest id
            receipt = await self._receipts.name(fresh, mark, redelivered=delivery.redelivered)
        delivery.receipt = receipt
        if receipt.event_id != fresh.id:
            delivery.message = renamed(delivery.message, receipt.event_id)
        if self._has(delivery):
            self._go_on(delivery, None)
        else:
            self._return(delivery)

    def _go_on(self, delivery: RabbitDelivery, problem: wire.UndecodableError | None) -> None:
        if self._closed:
            self._spawn(delivery.release())
        elif problem is not None:
            self._spawn(self._give_up(delivery, problem))
        elif self._ordered and delivery.redelivered and not self._suspects.knows(delivery):
            self._spawn(self._go_on_in_place(delivery))
        else:
            self._suspects.take(delivery)

    def close(self) -> None:
        """Hand nothing over any more: what comes, or waits here, goes back."""
        self._closed = True
        self._woken.set()
        for delivery in self._suspects.close():
            self._spawn(delivery.release())

    def abandon(self) -> None:
        """Forget what came on a channel that is lost: it comes again."""
        unsettled = list(self._unsettled.values())
        self._unsettled.clear()
        self._suspects.lost()
        for delivery in unsettled:
            self._return(delivery)

    async def aclose(self) -> None:
        """End what is done here in the background."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._receipts.aclose()

    def _settled(self, delivery: RabbitDelivery) -> None:
        if self._forget(delivery) and delivery.receipt is not None:
            self._receipts.later_forget(delivery.message.envelope)

    async def _passed_on(self, delivery: RabbitDelivery) -> None:
        if delivery.receipt is not None:
            await self._receipts.forget(delivery.message.envelope)

    def _released(self, delivery: RabbitDelivery) -> None:
        if self._forget(delivery):
            if not delivery.redelivered and delivery.row is None:  # which is not marked when it comes again
                # Its first start, which nobody counted, was no crash: whoever has it next is told so.
                delivery.receipt = replace(
                    delivery.receipt or self._receipts.fresh(delivery.message.envelope), starts=-1
                )
            self._return(delivery)

    def _return(self, delivery: RabbitDelivery) -> None:
        """Note that a delivery comes again, without having crashed."""
        receipt = delivery.receipt
        if receipt is None:
            return
        starts = receipt.starts - delivery.begun
        if receipt.mark or starts or receipt.attempt > 1:
            self._receipts.later_put(replace(receipt, starts=starts, owner=""))
        else:
            self._receipts.later_forget(delivery.message.envelope)

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

    def _look_after(self) -> None:
        """Park what the broker would soon lose its patience with; look again while there is anything."""
        latest_s = self._clock.monotonic_s() - self._hold_max_s * PARKED_FROM
        for delivery in list(self._unsettled.values()):
            if delivery.received_s > latest_s:
                break
            if (parking := delivery.park()) is not None:
                self._spawn(self._park(delivery, parking))
        self._timer = None
        if self._unsettled:
            self._watch()

    def _watch(self) -> None:
        if self._timer is None and not self._ordered:
            self._timer = self._clock.call_later(self._hold_max_s * (1 - PARKED_FROM), self._look_after)

    async def _park(self, delivery: RabbitDelivery, parking: asyncio.Task[None]) -> None:
        await asyncio.wait({parking})
        if delivery.row is not None:
            _log.debug("event_parked", subscriber=delivery.subscriber, event_id=delivery.message.envelope.id)
            self._answered(delivery)

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
            await delivery.dead_letter(problem.reason, error=str(problem))

    async def _hold(self, delivery: RabbitDelivery, delay_s: float, attempt: int) -> None:
        """Have the next attempt wait in place; which one it is, and when it is due, outlives this process."""
        known = delivery.receipt or await self._receipts.of(delivery.message.envelope)
        receipt = replace(
            known,
            owner=self._receipts.owner,
            starts=0,
            attempt=attempt,
            due_us=self._clock.now_us() + round(delay_s * 1_000_000),
            first_seen_us=delivery.first_seen_us,
        )
        await self._receipts.put(receipt)
        if self._has(delivery):
            self._wait_as(delivery, receipt)

    async def _go_on_in_place(self, delivery: RabbitDelivery) -> None:
        """Take up an ordered delivery where it stood when it was here, or in another process, the last time."""
        known = delivery.receipt or await self._receipts.of(delivery.message.envelope)
        if not self._has(delivery):
            return
        if known.attempt > 1:
            self._wait_as(delivery, known, was_here=False)
        else:
            self._suspects.take(delivery)

    def _wait_as(self, delivery: RabbitDelivery, receipt: Receipt, *, was_here: bool = True) -> None:
        self._unsettled[delivery.tag] = waiting = delivery.again(receipt)
        self._suspects.ended(delivery)
        self._spawn(self._wait_in_place(waiting, was_here=was_here))

    async def _wait_in_place(self, delivery: RabbitDelivery, *, was_here: bool) -> None:
        due_us = delivery.receipt.due_us if delivery.receipt is not None else 0
        due_s = self._clock.monotonic_s() + (due_us - self._clock.now_us()) / 1_000_000
        until_s = min(due_s, self._clock.monotonic_s() + self._hold_max_s)
        while not self._closed and (left_s := until_s - self._clock.monotonic_s()) > 0:
            self._woken.clear()
            timer = self._clock.call_later(left_s, self._woken.set)
            await self._woken.wait()
            timer.cancel()
        if self._closed or until_s < due_s:
            await delivery.release()  # to the head of the queue, where it came from; without its channel, nothing
        elif self._has(delivery):
            (self._suspects.resume if was_here else self._suspects.take)(delivery)

    def _spawn(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
