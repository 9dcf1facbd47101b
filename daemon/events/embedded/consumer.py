"""One subscriber's consumption of its embedded queue, and the deliveries that it hands on.

A delivery that was taken before and never settled may have killed the process that took it. Most often it has not, so
the first time it is handed on with the others, but for one thing: only as many as are started at once, for to be taken
counts as to be started. After the second time it is a suspect. Suspects are handed on one at a time in the whole
process, with nothing else of their queue in flight, so that no other is there as often as the guilty one. Which ones
there are is not known at first; so the first delivery is taken alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from daemon.clock import Clock
from daemon.errors import StoreUnavailableError
from daemon.events.bus import Delivery, Subscription
from daemon.events.embedded.rows import message_of_row
from daemon.store.model import QueuedDelivery
from daemon.store.port import Store
from daemon.store.writes import Outcome, SettleDelivery, UpdateDelivery

_SUSPECT = 2  # that many crashes


@dataclass(slots=True)
class Trial:
    """Whose suspect is out; None: no suspect is."""

    consumer: "EmbeddedConsumer | None" = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What consumers stand on.

    Attributes:
        owner: This process's id in the store, whose lease says that it lives.
        wake: Has the pump look at the consumers that want it.
        is_leased: Tells whether the lease goes on for sure.
        trial: Shared by them.
    """

    store: Store
    app: str
    owner: str
    clock: Clock
    wake: Callable[[], None]
    is_leased: Callable[[], bool]
    trial: Trial


class EmbeddedDelivery:
    """A row that this process owns."""

    __slots__ = ("_consumer", "_settled", "message", "row")

    def __init__(self, row: QueuedDelivery, consumer: "EmbeddedConsumer") -> None:
        self.row = row
        self.message = message_of_row(row)
        self._consumer = consumer
        self._settled = False

    @property
    def subscriber(self) -> str:
        return self.row.subscriber

    @property
    def attempt(self) -> int:
        return self.row.attempt

    @property
    def first_seen_us(self) -> int:
        return self.row.first_seen_us

    @property
    def redelivered(self) -> bool:
        return self.row.deliveries > 1

    @property
    def crashes(self) -> int:
        return self.row.deliveries - 1

    async def ack(self) -> bool:
        return await self._settle(None)

    async def retry(self, delay_s: float, *, attempt: int, error: str) -> bool:
        due_us = self._consumer.now_us() + round(delay_s * 1_000_000)
        return await self._put_back(replace(self.row, attempt=attempt, due_us=due_us, deliveries=0, error=error))

    async def dead_letter(self, reason: str, *, error: str, traceback: str = "") -> bool:
        now_us = self._consumer.now_us()
        return await self._put_back(replace(self.row, reason=reason, error=error, traceback=traceback, dead_us=now_us))

    async def release(self) -> bool:
        return await self._put_back(replace(self.row, deliveries=self.row.deliveries - 1))

    async def _put_back(self, row: QueuedDelivery) -> bool:
        return await self._settle(replace(row, owner=""))

    async def _settle(self, row: QueuedDelivery | None) -> bool:
        # The row may be ours again by now, as another delivery.
        if self._settled:
            return False
        self._settled = True
        try:
            return await self._consumer.settle(self.row.seq, row)
        except StoreUnavailableError:
            self._settled = False
            raise


class EmbeddedConsumer:
    """One subscriber's share of the pump.

    Attributes:
        wanted: Whether the pump is to look at its queue.
        behind: Whether there may be deliveries that were not taken for lack of room.
    """

    def __init__(self, subscription: Subscription, receive: Callable[[Delivery], None], ground: Ground) -> None:
        self.subscription = subscription
        self.wanted = True
        self.behind = True
        self._receive = receive
        self._ground = ground
        self._prefetch = 1 if subscription.ordered else max(1, subscription.prefetch)
        self._out: dict[int, EmbeddedDelivery] = {}
        self._suspecting = True
        self._returning = True
        self._awaits_trial = False
        self._bound = False
        self._cancelled = False
        self._trouble = ""

    @property
    def ready(self) -> bool:
        return self._bound and not self._cancelled and not self._trouble

    @property
    def trouble(self) -> str:
        return self._trouble

    @property
    def gone(self) -> bool:
        """Whether it takes nothing more and all that it took is settled."""
        return self._cancelled and not self._out

    @property
    def room(self) -> int:
        """How many more deliveries may be taken."""
        if self._cancelled or not self._ground.is_leased():
            return 0
        if self._awaits_trial and self._ground.trial.consumer is not None:
            return 0
        return max(0, self._most - len(self._out))

    @property
    def _most(self) -> int:
        if self._suspecting:
            return 1
        return min(self._prefetch, self.subscription.concurrency) if self._returning else self._prefetch

    async def cancel(self) -> None:
        self._cancelled = True

    def now_us(self) -> int:
        """Return the wall time."""
        return self._ground.clock.now_us()

    def want(self) -> None:
        """Have the pump look at its queue."""
        self.wanted = True
        self._ground.wake()

    async def look(self) -> int:
        """Take and hand on as much as there is room for; return how much was there.

        Raises:
            StoreUnavailableError: The store is away; `trouble` says so, until a look succeeds.
        """
        try:
            await self.bind()
            taken = await self._look() if self.room > 0 else 0
        except Exception as error:
            self.wanted = True
            self._trouble = f"Its queue cannot be read: {error}"
            raise
        self._trouble = ""
        return taken

    async def bind(self) -> None:
        """Bind the queue to what the subscriber wants, once."""
        if not self._bound:
            await self._ground.store.bind(self._ground.app, self.subscription.id, self.subscription.patterns)
            self._bound = True

    async def _look(self) -> int:
        ground, subscription, room = self._ground, self.subscription, self.room
        self.wanted = False
        taken = await ground.store.take(
            ground.app,
            subscription.id,
            ground.owner,
            limit=room,
            now_us=ground.clock.now_us(),
            ordered=subscription.ordered,
        )
        deliveries = [EmbeddedDelivery(row, self) for row in taken]
        self.behind = len(taken) == room
        suspects = [delivery for delivery in deliveries if delivery.crashes >= _SUSPECT]
        self._awaits_trial = self._suspecting and bool(suspects) and ground.trial.consumer is not None
        if self._cancelled or self._awaits_trial:
            self.wanted = True
            await self._give_back(deliveries)
        elif self._suspecting and suspects:
            ground.trial.consumer = self
            self._hand_on(suspects)
        else:
            others = [delivery for delivery in deliveries if delivery.crashes < _SUSPECT]
            self._suspecting, self._returning = False, any(delivery.crashes for delivery in others)
            now, later = others[: self.room], others[self.room :]
            self._suspecting = bool(suspects)
            self.wanted = self.behind = self.behind or bool(later or suspects)
            self._hand_on(now)
            await self._give_back([*later, *suspects])
        return len(taken)

    def _hand_on(self, deliveries: Sequence[EmbeddedDelivery]) -> None:
        self._out.update((delivery.row.seq, delivery) for delivery in deliveries)
        for delivery in deliveries:
            self._receive(delivery)

    async def _give_back(self, deliveries: Sequence[EmbeddedDelivery]) -> None:
        for delivery in deliveries:
            await delivery.release()

    async def settle(self, seq: int, row: QueuedDelivery | None) -> bool:
        """Write what became of a delivery, None: done; False if somebody else has taken it over."""
        ground = self._ground
        write = SettleDelivery(seq, ground.owner) if row is None else UpdateDelivery(row, ground.owner)
        outcome = await ground.store.commit(write)
        self._out.pop(seq, None)
        if ground.trial.consumer is self and not self._out:
            ground.trial.consumer = None
            ground.wake()
        if self.behind and len(self._out) <= self._most // 2:
            self.want()
        return outcome is Outcome.APPLIED

    async def taken_away(self) -> list[Delivery]:
        """Return what was handed on, is not settled, and is somebody else's by now."""
        ground = self._ground
        asked = [(each, ground.store.commit(UpdateDelivery(each.row, ground.owner))) for each in self._out.values()]
        return [delivery for delivery, answer in asked if await answer is Outcome.FENCED]

    async def release_all(self) -> None:
        """Give back what is not settled; whoever has it does so in vain from now on."""
        self._cancelled = True
        await self._give_back(tuple(self._out.values()))
