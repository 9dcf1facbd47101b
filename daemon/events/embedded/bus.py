"""The bus on the store's queue tables.

One pump task takes deliveries for all subscribers of this process. It does not poll: the store hints that a queue may
have changed, a timer waits for the next delivery that is due later, and a slow look heals what a lost hint or a dead
process left behind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from daemon.clock import Clock, Timer
from daemon.errors import StoreUnavailableError
from daemon.events.bus import REPLAY_PER_S, Delivery, QueueState, Subscription
from daemon.events.embedded.consumer import EmbeddedConsumer, Ground, Trial
from daemon.events.embedded.plan import compared
from daemon.events.embedded.rows import dead_letter_of, row_of
from daemon.events.model import EVERYTHING, Choice, DeadLetter, Message
from daemon.events.pace import Pace
from daemon.events.patterns import matches
from daemon.events.topology import Plan
from daemon.log import get_logger
from daemon.store.model import QueuedDelivery
from daemon.store.port import Store
from daemon.store.writes import Enqueue, Outcome, SettleDelivery

_AWAY_S = (0.1, 5.0)  # first and longest wait while the store is away
_NOT_YET_S = 0.2  # when something is due that could not be taken: somebody else was faster, or has its turn first
_PAGE = 200
_log = get_logger(__name__)


class EmbeddedBus:
    """A `Bus` on the store's queue tables.

    Args:
        app: Whose queues these are.
        owner: This process's id in the store, whose lease says that it lives; who runs the daemon renews it.
        look_s: How often to look without a hint, in seconds.
        is_leased: Tells whether that lease goes on for sure; nothing is taken else.
    """

    def __init__(
        self,
        store: Store,
        *,
        app: str,
        owner: str,
        clock: Clock,
        look_s: float = 3.0,
        is_leased: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._app = app
        self._clock = clock
        self._look_s = look_s
        self._woken = asyncio.Event()
        self._ground = Ground(store, app, owner, clock, self._woken.set, is_leased, Trial())
        self._consumers: list[EmbeddedConsumer] = []
        self._survey = True
        self._connected = False
        self._timers: dict[str, tuple[float, Timer]] = {}
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._stop_hints: Callable[[], None] = _nothing

    async def start(self) -> None:
        self._connected = True
        self._stop_hints = self._store.on_hint(self._look)
        self._pump = asyncio.get_running_loop().create_task(self._run())
        self._call_in("heal", self._look_s, self._heal)

    async def aclose(self) -> None:
        self._stop_hints()
        self._stop_hints = _nothing
        for _, timer in self._timers.values():
            timer.cancel()
        for consumer in self._consumers:
            await consumer.cancel()
        if self._pump is not None:
            self._closing = True
            self._woken.set()
            await self._pump  # not cancelled: what it is just taking would be nobody's until our lease ends
        with suppress(StoreUnavailableError):  # then they come again when our lease has ended
            for consumer in self._consumers:
                await consumer.release_all()
        self._connected = False

    @property
    def connected(self) -> bool:
        return self._connected

    # --- publishing ---

    async def send(self, message: Message) -> bool:
        name = message.envelope.name
        # Read every time: a queue that another process has bound since the last time gets the event, too.
        bindings = await self._store.bindings(self._app)
        subscribers = dict.fromkeys(subscriber for subscriber, pattern in bindings if matches(pattern, name))
        if not subscribers:
            return False
        now_us = self._clock.now_us()
        rows = (row_of(message, app=self._app, subscriber=each, now_us=now_us) for each in subscribers)
        await self._store.commit(Enqueue(tuple(rows)))
        return True

    # --- consuming ---

    async def declare(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            await self._store.bind(self._app, subscription.id, subscription.patterns)

    def expect(self, subscribers: Sequence[str]) -> None:
        """Wait for nobody: what was declared is in the store."""

    async def subscribe(self, subscription: Subscription, receive: Callable[[Delivery], None]) -> EmbeddedConsumer:
        consumer = EmbeddedConsumer(subscription, receive, self._ground)
        self._consumers = [each for each in self._consumers if not each.gone]
        self._consumers.append(consumer)
        with suppress(StoreUnavailableError):  # the pump tries again
            await consumer.bind()
        self._look()
        return consumer

    async def taken_away(self) -> list[Delivery]:
        return [delivery for consumer in self._consumers for delivery in await consumer.taken_away()]

    async def _run(self) -> None:
        wait_s, longest_s = _AWAY_S
        while not self._closing:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._round()
            except StoreUnavailableError as error:
                _log.debug("queues_away", error=str(error))
                self._connected = False
                self._call_in("away", wait_s, self._look)
                wait_s = min(wait_s * 2, longest_s)
            except Exception:  # noqa: BLE001 - the pump serves everybody: it outlives whatever this was
                _log.exception("pump_failed")
                self._call_in("away", longest_s, self._heal)
            else:
                self._connected = True
                wait_s = _AWAY_S[0]

    async def _round(self) -> None:
        surveyed, self._survey = self._survey, False
        late = await self._find_due() if surveyed else False
        taken = 0
        caught_up = False
        for consumer in self._consumers:
            if consumer.wanted:
                behind = consumer.behind
                taken += await self._attend(consumer)
                caught_up |= behind and not consumer.behind
        if any(consumer.wanted and consumer.room > 0 for consumer in self._consumers):
            self._woken.set()
        if caught_up or (late and taken):
            self._look()  # when is the next one due?
        elif late:
            self._call_in("due", _NOT_YET_S, self._look)

    async def _attend(self, consumer: EmbeddedConsumer) -> int:
        try:
            return await consumer.look()
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - one subscriber's trouble never stops another
            _log.exception("consumer_failed", subscriber=consumer.subscription.id)
            return 0

    async def _find_due(self) -> bool:
        """Mark the consumers that can take something now, set the timer for the next; tell whether any can."""
        late = False
        for consumer in self._consumers:
            consumer.behind = consumer.behind or consumer.room <= 0
        for ordered in (False, True):
            hungry = [each for each in self._consumers if each.room > 0 and each.subscription.ordered is ordered]
            if not hungry:
                continue
            ids = [consumer.subscription.id for consumer in hungry]
            due_us = await self._store.next_due_us(self._app, ids, ordered=ordered)
            if due_us is None:
                continue
            wait_s = (due_us - self._clock.now_us()) / 1_000_000
            if wait_s > 0:
                self._call_in("due", wait_s, self._look)
                continue
            late = True
            for consumer in hungry:
                consumer.wanted = True
        return late

    def _look(self) -> None:
        self._survey = True
        self._woken.set()

    def _heal(self) -> None:
        # What a dead process owns is due to nobody: only taking finds it.
        for consumer in self._consumers:
            consumer.wanted = True
        self._look()
        self._call_in("heal", self._look_s, self._heal)

    def _call_in(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        """Have one timer of this name call back, at the earlier one of the times that were asked for."""
        at_s = self._clock.monotonic_s() + delay_s
        waiting = self._timers.get(name)
        if waiting is not None:
            if waiting[0] <= at_s:
                return
            waiting[1].cancel()

        def ring() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = (at_s, self._clock.call_later(delay_s, ring))

    # --- operating ---

    async def queues(self, subscribers: Sequence[str]) -> list[QueueState]:
        depths = await self._store.queue_depths(self._app)
        return [QueueState(each, *_state(depths.get(each, (0, 0, 0)))) for each in subscribers]

    async def plan(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        bindings = await self._store.bindings(self._app)
        return compared(subscriptions, known, bindings, await self._store.queue_depths(self._app))

    async def apply(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        await self.declare(subscriptions)
        wanted = {each.id for each in subscriptions} | set(known)
        for orphan in sorted({subscriber for subscriber, _ in await self._store.bindings(self._app)} - wanted):
            await self._store.bind(self._app, orphan, ())  # there is no other command that would stop it
        return await self.plan(subscriptions, known=known)

    async def dead_letters(self, subscriber: str, choice: Choice = EVERYTHING, *, limit: int) -> list[DeadLetter]:
        return [dead_letter_of(row) async for row in self._dead(subscriber, choice, limit=limit)]

    async def replay(self, subscriber: str, choice: Choice = EVERYTHING, *, per_s: float = REPLAY_PER_S) -> int:
        pace = Pace(self._clock, per_s)
        began_us = self._clock.now_us()
        replayed = 0
        async for row in self._dead(subscriber, choice):
            if (row.dead_us or 0) > began_us:
                continue  # what dies while we are at it, perhaps of being replayed, is not for this time
            await pace.turn()
            again = replace(
                row,
                seq=0,  # a new one: what somebody else does with the dead letter meanwhile must not meet this
                attempt=1,
                due_us=self._clock.now_us(),
                deliveries=0,
                reason="",
                error="",
                traceback="",
                dead_us=None,
            )
            writes = SettleDelivery(row.seq, ""), Enqueue((again,))
            replayed += await self._store.commit(*writes) is Outcome.APPLIED
        return replayed

    async def discard(self, subscriber: str, choice: Choice = EVERYTHING) -> int:
        discarded = 0
        async for row in self._dead(subscriber, choice):
            discarded += await self._store.commit(SettleDelivery(row.seq, "")) is Outcome.APPLIED
        return discarded

    async def _dead(
        self, subscriber: str, choice: Choice, *, limit: int | None = None
    ) -> AsyncIterator[QueuedDelivery]:
        """Iterate over the dead letters that are meant, oldest first; each once, whatever becomes of it."""
        ids = None if choice.ids is None else sorted(choice.ids)
        after, count = 0, 0
        while rows := await self._store.dead(self._app, subscriber, ids=ids, limit=_PAGE, after=after):
            after = rows[-1].seq
            for row in rows:
                if count == limit:
                    return
                if choice.everything or choice.wants(dead_letter_of(row)):
                    count += 1
                    yield row


def _state(depths: tuple[int, int, int]) -> tuple[int | None, int | None, int | None, int | None]:
    ready, in_flight, dead = depths
    return ready, in_flight, None, dead


def _nothing() -> None:
    """Stop no hints: there are none yet, or none any more."""
