"""What processes on one PostgreSQL tell each other: that there is news. By LISTEN and NOTIFY, without a payload."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2s
from typing import Any

from daemon.errors import StoreUnavailableError
from daemon.store.postgres_link import LOST, STATEMENT_S, Address, Link, unavailable

_FIRST_BACKOFF_S = 0.2
_LONGEST_BACKOFF_S = 5.0
_CLOSE_S = 1.0


class News:
    """A connection that listens, and that tells the others.

    News is only a hint, so it is told after the commit, not in it: a transaction that notifies waits for all others
    that do, until its fsync is done. However much there is to tell meanwhile is told once.

    Args:
        told: Called when there is news of another process, or may have been while the connection was lost.
    """

    def __init__(self, address: Address, *, app: str, told: Callable[[], object]) -> None:
        self._address = address
        self._channel = f"sagad_{blake2s(f'{address.schema} {app}'.encode(), digest_size=16).hexdigest()}"
        self._told = told
        self._link: Link | None = None
        self._is_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen. Raises `StoreUnavailableError`."""
        await self._listen()
        self._task = asyncio.create_task(self._work(), name="store news")

    async def aclose(self) -> None:
        """Tell what is to be told, and stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._link is not None:
            with suppress(StoreUnavailableError, *LOST):
                if self._is_news.is_set():
                    await self._notify()
                await self._link.close(timeout=_CLOSE_S)

    def tell(self) -> None:
        """Tell the others that there is news."""
        self._is_news.set()

    async def _work(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            await self._is_news.wait()
            try:
                if self._link is None or self._link.is_closed():
                    await self._listen()
                    self._told()  # Something may have been told meanwhile.
                self._is_news.clear()
                await self._notify()
                backoff_s = _FIRST_BACKOFF_S
            except (StoreUnavailableError, *LOST):
                self._is_news.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff_s):
                        await asyncio.Event().wait()
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _listen(self) -> None:
        link = await self._address.connect()
        try:
            await link.add_listener(self._channel, self._heard)
        except LOST as error:
            link.terminate()
            raise unavailable(error) from error
        except asyncio.CancelledError:
            link.terminate()
            raise
        link.add_termination_listener(self._lost)
        self._link = link

    async def _notify(self) -> None:
        if self._link is not None:
            await self._link.execute(f"NOTIFY {self._channel}", timeout=STATEMENT_S)

    def _heard(self, link: Any, process: int, *_: object) -> None:
        if process != link.get_server_pid():
            self._told()

    def _lost(self, _: object) -> None:
        self._is_news.set()
