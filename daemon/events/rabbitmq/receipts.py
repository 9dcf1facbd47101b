"""What the store keeps of one subscriber's deliveries, so that it outlives the process that has them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from daemon.clock import Clock
from daemon.errors import StoreUnavailableError
from daemon.events.model import Envelope
from daemon.events.outage import patiently
from daemon.log import get_logger
from daemon.store.model import Receipt
from daemon.store.port import Store
from daemon.store.writes import ForgetReceipt, PutReceipt

T = TypeVar("T")
Key = tuple[str, str, str]  # source, name, id

_log = get_logger(__name__)


class Receipts:
    """Receipts of one subscriber.

    What is asked or put waits for a store that is away. What is noted in passing (`later_*`) is written in the order
    of the calls, and before anything that is asked or put afterwards.

    Args:
        owner: This process's id in the store.
    """

    def __init__(self, store: Store, clock: Clock, *, app: str, subscriber: str, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._clock = clock
        self._app = app
        self._subscriber = subscriber
        self._under_way: set[asyncio.Task[None]] = set()
        self._naming = asyncio.Lock()  # of what comes again: the first that came gets the oldest id

    async def of(self, envelope: Envelope) -> Receipt:
        """Return what is known of an event's delivery; a new receipt, which is not kept, if there is nothing."""
        await self._written()
        key = key_of(envelope)
        known = await self._patiently(lambda: self._store.receipt(self._app, self._subscriber, *key))
        return known or self.fresh(envelope)

    def fresh(self, envelope: Envelope, mark: str = "", owner: str = "") -> Receipt:
        """Return a receipt for an event of which nothing is known."""
        now_us = self._clock.now_us()
        return Receipt(self._app, self._subscriber, *key_of(envelope), mark, owner, first_seen_us=now_us)

    async def name(self, envelope: Envelope, mark: str, *, redelivered: bool) -> Receipt:
        """Return the receipt of an event that came without an id: with the one in the envelope, if it came first."""
        if not redelivered:
            return await self._name_first(envelope, mark)
        async with self._naming:
            await self._written()
            claim = self._store.claim_receipt
            former = await self._patiently(lambda: claim(self._app, self._subscriber, mark, self.owner))
            return former or await self._name_first(envelope, mark)

    async def _name_first(self, envelope: Envelope, mark: str) -> Receipt:
        fresh = self.fresh(envelope, mark, self.owner)
        await self.put(fresh)
        return fresh

    async def put(self, receipt: Receipt) -> None:
        """Keep a receipt; returns once it is durable."""
        await self._patiently(lambda: self._store.commit(PutReceipt(receipt)))

    async def forget(self, envelope: Envelope) -> None:
        """Forget an event's; returns once that is durable."""
        await self._written()
        await self._patiently(lambda: self._store.commit(self._forgetting(envelope)))

    def later_put(self, receipt: Receipt) -> None:
        """Keep a receipt, without anybody waiting for it."""
        self._later(self._store.commit(PutReceipt(receipt)))

    def later_forget(self, envelope: Envelope) -> None:
        """Forget an event's, without anybody waiting for it."""
        self._later(self._store.commit(self._forgetting(envelope)))

    def later_return(self, receipt: Receipt | None, *, begun: bool) -> None:
        """Note that a delivery comes again, without having crashed; `begun`: the start counts that is going on."""
        if receipt is None:
            return
        starts = receipt.starts - begun
        if receipt.mark or starts or receipt.attempt > 1:
            self.later_put(replace(receipt, starts=starts, owner=""))
        else:
            key = receipt.source, receipt.event_name, receipt.event_id
            self._later(self._store.commit(ForgetReceipt(self._app, self._subscriber, *key)))

    async def aclose(self) -> None:
        """Return once everything is written that was noted."""
        await self._written()

    def _forgetting(self, envelope: Envelope) -> ForgetReceipt:
        return ForgetReceipt(self._app, self._subscriber, *key_of(envelope))

    def _later(self, writing: Awaitable[object]) -> None:
        async def write() -> None:
            try:
                await writing
            except StoreUnavailableError as error:
                _log.debug("receipt_not_kept", subscriber=self._subscriber, reason=str(error))

        task = asyncio.create_task(write())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _written(self) -> None:
        if self._under_way:
            await asyncio.wait(tuple(self._under_way))

    def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        return patiently(attempt, clock=self._clock)


def key_of(envelope: Envelope) -> Key:
    """Return what makes two deliveries the same event to a subscriber."""
    return envelope.source, envelope.name, envelope.id
