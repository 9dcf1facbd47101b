"""Relays what runs and handlers staged to the bus: at least once, in the order of each origin.

Each process relays what it staged itself. What nobody owns, and what a dead process left, is taken over first, by one
of those that live: now and then, and at the beginning of a round, before anything later of the same origin is read.

An event is dropped from the store after the bus has confirmed it. Between the two lies a crash that publishes it again,
with the same id. Origins do not wait for each other; within one, an event is sent when the one before is confirmed, so
that a failure in the middle never reverses two.

A page of events is under way at one time: while it is, the page before is dropped and the next one read. What takes
longer than a moment, because the broker does not answer for one of its queues, is late: the others do not wait for it.

Invariants:
* An origin whose event was not taken is stuck: nothing of it is sent before it is tried again, which is after a wait
  that doubles, and when all others have had their turn. A poke does not try it again.
* Events whose name the broker has refused once are not tried meanwhile: a queue that is full refuses all of them.
* Of an origin with a late event nothing else is sent, and nothing of the name of a late event.
* A process that may count as dead sends nothing: others may have taken its events over, and be sending them.
* While the broker or the store is away nothing is tried but after that wait, however often it is poked.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from enum import Enum
from math import inf
from typing import Any, TypeVar

from daemon.clock import Clock, Timer
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.bus import Bus
from daemon.events.model import unpack
from daemon.log import get_logger
from daemon.store.model import OutgoingEvent
from daemon.store.port import Store
from daemon.store.writes import DropOutgoing

_AWAY_S = (0.1, 5.0)  # first and longest wait while the broker or the store is away, or an origin is stuck
_PAGE = 500
_TAKEN = 1_000  # at one time, from nobody and from the dead
_MOMENT_S = 0.5
_LATE_MAX = 1_000  # more, and it is not one queue: all wait
T = TypeVar("T")
_log = get_logger(__name__)


class _Left(Enum):
    """What is left after a look."""

    NOTHING = 0
    STUCK = 1
    ALL = 2


class Outbox:
    """Relays an application's staged events; `poke` after every commit that stages one.

    Args:
        owner: This process's id in the store.
        look_s: How often to look without being poked, in seconds: for what a process left behind that has died.
        is_leased: Tells whether this process counts as alive.
        may_take_over: Tells whether what others left may be taken over now.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        app: str,
        owner: str,
        clock: Clock,
        look_s: float = 2.0,
        is_leased: Callable[[], bool] = lambda: True,
        may_take_over: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._bus = bus
        self._app = app
        self._owner = owner
        self._clock = clock
        self._look_s = look_s
        self._is_leased = is_leased
        self._may_take_over = may_take_over
        self._takes_over_at_s = -inf
        self._woken = asyncio.Event()
        self._away = False
        self._closing = False
        self._stuck: set[str] = set()
        self._refused: set[str] = set()
        self._under_way: dict[str, tuple[str, float]] = {}  # by origin, the name of what is being sent, and since when
        self._late: set[asyncio.Task[None]] = set()
        self._passed = 0  # up to this position everything was sent, or is stuck
        self._is_round_over = False
        self._retries = False  # whether the timer is for what is stuck
        self._stop_hints: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None

    async def start(self) -> None:
        """Begin to relay, with what is there already."""
        self._closing = False
        self._stop_hints = self._store.on_hint(self.poke)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self.poke()

    async def aclose(self) -> None:
        """Relay what is there by now, unless the broker does not answer, and stop; what is left waits for a start."""
        if self._task is not None:
            self._stop_hints()
            self._closing = True
            self._resume()
            await self._task
            self._task = None

    def poke(self) -> None:
        """Look for staged events now, or when the broker is tried again."""
        if not self._away:
            self._woken.set()

    def _resume(self) -> None:
        self._away = self._retries = False
        if self._is_round_over:
            self._begin_round()
        self._woken.set()

    def _begin_round(self) -> None:
        """Have everything tried again."""
        self._stuck.clear()
        self._refused.clear()
        self._passed = 0
        self._is_round_over = False

    async def _run(self) -> None:
        wait_s, longest_s = _AWAY_S
        closing = False
        while not closing:
            await self._woken.wait()
            self._woken.clear()
            closing = self._closing
            try:
                left = await self._relay()
            except StoreUnavailableError as error:
                _log.debug("outbox_waits", error=str(error), delay_s=wait_s)
                left = _Left.ALL
            self._away = left is _Left.ALL and not self._closing
            if left is _Left.NOTHING:
                wait_s, delay_s = _AWAY_S[0], self._look_s
            elif left is _Left.STUCK and self._retries:
                continue  # poked while something is stuck: that is not tried any earlier, nor any later
            else:
                delay_s, wait_s = wait_s, min(wait_s * 2, longest_s)
            if self._timer is not None:
                self._timer.cancel()
            self._retries = left is _Left.STUCK
            self._timer = self._clock.call_later(delay_s, self._resume)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._late:
            task.cancel()
        if self._late:
            await asyncio.wait(self._late)

    async def _relay(self) -> _Left:
        """Send what is staged and not stuck."""
        self._is_round_over = False
        dropping: asyncio.Task[object] | None = None
        await self._take_over()
        page = await self._read()
        while page:
            self._passed = max(event.position for event in page)
            reading = _spawn(self._read()) if len(page) == _PAGE else None
            sent = await self._send_page(page)
            if dropping is not None:
                await dropping
            dropping = _spawn(self._drop(sent)) if sent else None
            if not sent and not self._bus.connected:
                self._begin_round()
                return _Left.ALL
            if not sent and reading is not None and self._refused:
                return _Left.STUCK  # and goes on from here: there may be very many
            page = await reading if reading is not None else []
        if dropping is not None:
            await dropping
        self._is_round_over = True
        if self._stuck:
            return _Left.STUCK
        self._begin_round()
        return _Left.NOTHING

    async def _take_over(self) -> None:
        """Have what nobody owns, and what the dead left, be this process's, from time to time.

        Only at the beginning of a round: it may have to be sent before what was passed already.
        """
        now_s = self._clock.monotonic_s()
        if self._passed or self._closing or now_s < self._takes_over_at_s or not self._may_take_over():
            return
        taken = await self._store.claim_outgoing(self._app, self._owner, limit=_TAKEN)
        if taken == _TAKEN:
            self._woken.set()  # there may be more
        else:
            self._takes_over_at_s = now_s + self._look_s

    async def _read(self) -> list[OutgoingEvent]:
        return await self._store.outgoing(self._app, limit=_PAGE, after=self._passed, owner=self._owner)

    async def _drop(self, ids: Sequence[str]) -> None:
        await self._store.commit(DropOutgoing(tuple(ids)))

    async def _send_page(self, page: Sequence[OutgoingEvent]) -> list[str]:
        """Send what is not stuck of these events; return the ids of those that need not be sent again."""
        chains: dict[str, list[OutgoingEvent]] = {}  # in the order of their commits, those of an origin together
        for event in page:
            if event.origin not in self._stuck and event.origin not in self._under_way:
                chains.setdefault(event.origin, []).append(event)
        late = {name for name, _ in self._under_way.values()}
        sending = {_spawn(self._send(origin, chain, late)): origin for origin, chain in chains.items()}
        waiting = set(sending)
        while not all(self._is_late(sending[task]) for task in waiting):
            _, waiting = await asyncio.wait(waiting, timeout=_MOMENT_S)
        for task in waiting:
            self._stuck.add(sending[task])
            finishing = _spawn(self._finish(sending[task], task))
            self._late.add(finishing)
            finishing.add_done_callback(self._late.discard)
        done = sending.keys() - waiting
        for task in done:
            self._under_way.pop(sending[task], None)
        return [id for task in done for id in task.result()]

    def _is_late(self, origin: str) -> bool:
        _, since_s = self._under_way.get(origin, ("", inf))
        return asyncio.get_running_loop().time() - since_s >= _MOMENT_S and len(self._late) < _LATE_MAX

    async def _finish(self, origin: str, sending: asyncio.Task[list[str]]) -> None:
        """Wait for what is late, and drop what was sent of it; until then nothing of its origin is sent again."""
        sent: list[str] = []
        try:
            if sent := await sending:
                await self._drop(sent)
        finally:
            self._under_way.pop(origin, None)
            if sent:
                self._resume()  # the broker answers again

    async def _send(self, origin: str, chain: Sequence[OutgoingEvent], late: Collection[str]) -> list[str]:
        """Send events of one origin, one after the other, until one is not taken; return the ids of those before it."""
        sent: list[str] = []
        for event in chain:
            if not self._is_leased():
                break
            message = unpack(event.message)
            name = message.envelope.name
            if name in self._refused or name in late:
                break
            self._under_way[origin] = name, asyncio.get_running_loop().time()
            try:
                await self._bus.send(message)
            except BrokerUnavailableError:
                self._refused.add(name)
                break
            except StoreUnavailableError:
                break  # the bus keeps its queues where this was kept: there is nothing wrong with the event
            except Exception:  # noqa: BLE001 - neither sent nor lost, and no other origin has to wait for it
                _log.exception("outbox_failed", event_id=event.id, event_name=name)
                break
            sent.append(event.id)
        else:
            return sent
        self._stuck.add(origin)
        return sent


def _spawn(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Do something meanwhile; its failure is that of whoever awaits it, if still anybody does."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
