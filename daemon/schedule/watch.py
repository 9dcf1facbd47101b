"""Looks now and then, and when there is news."""

import asyncio
from collections.abc import Awaitable, Callable

from daemon.clock import Clock, Timer
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger

_PAUSE_S = 0.25  # queues of events hint all the time
_log = get_logger(__name__)


class Watch:
    """Two tasks: one looks every `look_s` seconds, the other after a hint, at once but not too often.

    Args:
        look: What is done every `look_s` seconds.
        news: What is done after a hint.
    """

    def __init__(
        self, clock: Clock, look: Callable[[], Awaitable[None]], *, look_s: float, news: Callable[[], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._look = look
        self._look_s = look_s
        self._news = news
        self._hinted = asyncio.Event()
        self._due = asyncio.Event()
        self._timer: Timer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._look_again()), loop.create_task(self._heed_news())]

    def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def hint(self) -> None:
        """Say that there is news."""
        self._hinted.set()

    def look_soon(self) -> None:
        """Look at once."""
        self._due.set()

    async def _look_again(self) -> None:
        while True:
            self._timer = self._clock.call_later(self._look_s, self._due.set)
            await self._due.wait()
            self._timer.cancel()
            self._due.clear()
            await self._attempt(self._look)

    async def _heed_news(self) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            await self._attempt(self._news)
            await self._clock.sleep(_PAUSE_S)

    @staticmethod
    async def _attempt(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreUnavailableError as error:
            _log.debug("scheduler_waits", error=str(error))
        except Exception:  # noqa: BLE001 - the next look may do better
            _log.exception("scheduler_look_failed")
