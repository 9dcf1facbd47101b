"""Whether the event loop turns, and systemd's watchdog, which is told so."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from daemon.clock import Clock
from daemon.log import get_logger
from daemon.systemd import Notifier

_BEAT_S = 1.0
_SLOW_S = 0.5
_log = get_logger(__name__)


class LoopMonitor:
    """Measures how late the event loop is, and gives systemd a sign of life only while it is not.

    Args:
        clock: What lateness is measured by.
        notifier: Whom the watchdog's signs go to; without a watchdog there are none.
        checks: What else has to hold for a sign of life.
    """

    def __init__(self, clock: Clock, notifier: Notifier, *, checks: Sequence[Callable[[], bool]] = ()) -> None:
        self.lag_s = 0.0
        self._clock = clock
        self._notifier = notifier
        self._checks = checks
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def is_well(self) -> bool:
        """Tell whether the loop was on time when it was last measured, and every check holds."""
        patience_s = (self._notifier.watchdog_s or 4 * _BEAT_S) / 4
        return self.lag_s <= patience_s and all(check() for check in self._checks)

    async def _run(self) -> None:
        watchdog_s = self._notifier.watchdog_s
        beat_s = _BEAT_S if watchdog_s is None else min(_BEAT_S, watchdog_s / 4)
        sign_due_s = now_s = self._clock.monotonic_s()
        while True:
            if watchdog_s is not None and now_s >= sign_due_s and self.is_well():
                self._notifier.watchdog()
                sign_due_s = now_s + watchdog_s / 2 - beat_s / 2
            await self._clock.sleep(beat_s)
            before_s, now_s = now_s, self._clock.monotonic_s()
            self.lag_s = now_s - before_s - beat_s
            if self.lag_s > _SLOW_S:
                _log.warning("event_loop_blocked", duration_ms=round(self.lag_s * 1_000, 1))
