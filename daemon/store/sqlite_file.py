"""A SQLite file as stores use it: a thread that writes, one that reads, and news from other processes."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from daemon.errors import StoreUnavailableError
from daemon.store.batch import Call, Commit, Job
from daemon.store.database import open_database
from daemon.store.files import has_room
from daemon.store.peers import Peers
from daemon.store.sql import Row
from daemon.store.turn import Turn
from daemon.store.walks import Asking
from daemon.store.writer import Writer
from daemon.store.writes import Outcome, Write

T = TypeVar("T")

_CLOSED = "The store is not open."


class SqliteFile:
    """Opens, closes and commits; `_read` and `_call` are for what a store asks.

    It belongs to the event loop that opened it. See `SqliteStore` for the arguments.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"],
        busy_timeout_s: float,
        sync_failed: Callable[[Exception], object],
        migrates: bool,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._sync_failed = sync_failed
        self._migrates = migrates
        self._peers_folder = path.with_name(f"{path.name}-peers")
        self._peers = Peers(self._peers_folder)
        self._hints: list[Callable[[], object]] = []
        self._handing: list[Job] = []
        self._is_open = False

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._reading_thread = ThreadPoolExecutor(1, thread_name_prefix="sagad-store-reader")
        self._writer.start()
        self._is_open = True

    def _open(self) -> None:
        writing, self._reading = open_database(
            self._path,
            self._peers_folder,
            synchronous=self._synchronous,
            busy_timeout_s=self._busy_timeout_s,
            migrates=self._migrates,
        )
        self._peers.sweep()
        turn = Turn(self._peers_folder, patience_s=self._busy_timeout_s)
        self._writer = Writer(
            writing,
            turn,
            has_room=partial(has_room, self._peers_folder),
            finished=self._finished,
            sync_failed=self._report_failed_sync,
        )

    async def aclose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._hand_over()
        await asyncio.to_thread(self._writer.close)
        await self._loop.run_in_executor(self._reading_thread, self._reading.close)
        self._reading_thread.shutdown()
        self._peers.close()

    @property
    def trouble(self) -> str:
        return self._writer.trouble if self._is_open else _CLOSED

    @property
    def transactions(self) -> int:
        """How many transactions were committed, each with one fsync; many commits share one."""
        return self._writer.transactions

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if self._is_open:
            if not self._handing:
                self._loop.call_soon(self._hand_over)
            self._handing.append(Commit(writes, future))
        else:
            future.set_exception(StoreUnavailableError(_CLOSED))
        return future

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        self._peers.listen(self._loop, self._call_back)
        self._hints.append(callback)
        return lambda: self._hints.remove(callback)

    def _call_back(self) -> None:
        for callback in tuple(self._hints):
            callback()

    # --- threads ---
    async def _read(self, query: str, *values: object) -> list[Row]:
        return await self._look(lambda reading: reading.execute(query, values).fetchall())

    async def _ask(self, asking: Asking[T]) -> T:
        """Have whoever asks one thing after the other answered, and return what came of it."""

        def work(reading: sqlite3.Connection) -> T:
            rows: list[Row] | None = None
            while True:
                try:
                    query, values = asking.send(rows) if rows is not None else next(asking)
                except StopIteration as done:
                    found: T = done.value
                    return found
                rows = reading.execute(query, values).fetchall()

        return await self._look(work)

    async def _look(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function in the thread that reads."""

        def work() -> T:
            try:
                return ask(self._reading)
            except sqlite3.Error as error:
                raise StoreUnavailableError(f"The database cannot be read: {error}.") from error

        if not self._is_open:
            raise StoreUnavailableError(_CLOSED)
        return await self._loop.run_in_executor(self._reading_thread, work)

    async def _call(self, work: Callable[[sqlite3.Connection], T], *, hints: bool = False) -> T:
        """Run a function in the thread that writes, after all commits so far, and return once it is durable."""
        if not self._is_open:
            raise StoreUnavailableError(_CLOSED)
        future: asyncio.Future[T] = self._loop.create_future()
        self._handing.append(Call(work, future, hints=hints))
        self._hand_over()
        return await future

    def _hand_over(self) -> None:
        """Hand what was submitted in a turn of the loop to the thread that writes, all at once.

        It would be woken by the first, and from then on contend for the interpreter with whoever submits the others.
        """
        if self._handing:
            handing, self._handing = self._handing, []
            self._writer.submit(handing)

    def _finished(self, results: list[tuple[Job, object]]) -> None:
        hints = any(job.hints and not isinstance(result, Exception) for job, result in results)
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._deliver, results, hints)
        if hints:
            self._peers.tell()

    def _deliver(self, results: list[tuple[Job, object]], hints: bool) -> None:  # noqa: FBT001 - a callback
        for job, result in results:
            if job.future.done():
                continue  # Whoever waited was cancelled.
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        if hints:
            self._call_back()

    def _report_failed_sync(self, error: sqlite3.Error) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._sync_failed, error)
