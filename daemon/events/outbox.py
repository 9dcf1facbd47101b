"""Relays what runs and handlers staged to the bus: at least once, in the order of each origin.

An event is dropped from the store after the bus has confirmed it. Between the two lies a crash that publishes it again,
with the same id. Origins do not wait for each other; within one, an event is sent when the one before is confirmed, so
that a failure in the middle never reverses two.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

from daemon.clock import Clock, Timer
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.events.bus import Bus
from daemon.events.model import unpack
from daemon.log import get_logger
from daemon.store.model import OutgoingEvent
from daemon.store.port import Store
from daemon.store.writes import DropOutgoing

_AWAY_S = (0.1, 5.0)  # first and longest wait while the broker or the store is away
_BATCH = 500
_log = get_logger(__name__)


class Outbox:
    """Relays an application's staged events; `poke` after every commit that stages one.

    Args:
        look_s: How often to look without being poked, in seconds: for what a process left behind that has died.
    """

    def __init__(self, store: Store, bus: Bus, *, app: str, clock: Clock, look_s: float = 5.0) -> None:
        self._store = store
        self._bus = bus
        self._app = app
        self._clock = clock
        self._look_s = look_s
        self._woken = asyncio.Event()
        self._away = False
        self._closing = False
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
        """Relay what is there by now, unless the broker is away, and stop; what is left waits for the next start."""
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
        self._away = False
        self._woken.set()

    async def _run(self) -> None:
        wait_s, longest_s = _AWAY_S
        closing = False
        while not closing:
            await self._woken.wait()
            self._woken.clear()
            closing = self._closing
            if self._timer is not None:
                self._timer.cancel()
            try:
                done = await self._relay()
            except StoreUnavailableError as error:
                _log.debug("outbox_waits", error=str(error), delay_s=wait_s)
                done = False
            self._away = not (done or self._closing)
            self._timer = self._clock.call_later(self._look_s if done else wait_s, self._resume)
            wait_s = _AWAY_S[0] if done else min(wait_s * 2, longest_s)
        if self._timer is not None:
            self._timer.cancel()

    async def _relay(self) -> bool:
        """Send everything that is staged; False if the broker did not take all of it."""
        while events := await self._store.outgoing(self._app, limit=_BATCH):
            # In the order of their commits, those of an origin together.
            events.sort(key=attrgetter("origin"))
            chains = [list(chain) for _, chain in groupby(events, attrgetter("origin"))]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._send(chain)) for chain in chains]
            sent = [id_ for task in tasks for id_ in task.result()]
            if sent:
                await self._store.commit(DropOutgoing(tuple(sent)))
            if len(sent) < len(events):
                return False
        return True

    async def _send(self, chain: Sequence[OutgoingEvent]) -> list[str]:
        """Send events of one origin, one after the other; return the ids of those that need not be sent again."""
        sent: list[str] = []
        for event in chain:
            message = unpack(event.message)
            try:
                await self._bus.send(message)
            except (BrokerUnavailableError, StoreUnavailableError):
                break
            except Exception:  # noqa: BLE001 - neither sent nor lost, and no other origin has to wait for it
                _log.exception("outbox_failed", event_id=event.id, event_name=message.envelope.name)
                break
            sent.append(event.id)
        return sent
