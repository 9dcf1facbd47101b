"""The store on SQLite: one file for the daemons of one host."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

from daemon.errors import StoreUnavailableError
from daemon.store import sql, takeover
from daemon.store.batch import Call, Commit, Job
from daemon.store.database import open_database
from daemon.store.inbox import Inbox
from daemon.store.listing import in_order
from daemon.store.model import FiringRecord, OutgoingEvent, QueuedDelivery, RunRecord, StepRecord
from daemon.store.peers import Peers
from daemon.store.port import RunFilter
from daemon.store.turn import Turn
from daemon.store.writer import Writer
from daemon.store.writes import Outcome, Write

T = TypeVar("T")

_CLOSED = "The store is not open."
_LATEST_US = 2**63 - 1


class SqliteStore:
    """Keeps everything in one SQLite file (WAL), which any number of processes of one host may open.

    The file and its folder are created if missing, for their owner alone. In a folder beside it, `<file>-peers`, the
    processes notice at once that one of them died or has news. A store belongs to the event loop that opened it.

    Args:
        path: The database file.
        synchronous: `FULL`: what was confirmed survives a power failure. `NORMAL` survives a crash of the process,
            but may lose the last commits at a power failure.
        busy_timeout_s: How long to wait for another process's transaction before that counts as trouble.
        sync_failed: Called in the event loop when an fsync failed. Nothing is written any more then, since what the
            operating system still holds is uncertain; the process should end, and recover from what is on the disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout_s: float = 5.0,
        sync_failed: Callable[[Exception], object] = lambda _: None,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._sync_failed = sync_failed
        self._peers_folder = path.with_name(f"{path.name}-peers")
        self._peers = Peers(self._peers_folder)
        self._hints: list[Callable[[], object]] = []
        self._inbox = Inbox(self._read)
        self._is_open = False

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._reading_thread = ThreadPoolExecutor(1, thread_name_prefix="sagad-store-reader")
        self._writer.start()
        self._is_open = True

    def _open(self) -> None:
        writing, self._reading = open_database(
            self._path, self._peers_folder, synchronous=self._synchronous, busy_timeout_s=self._busy_timeout_s
        )
        self._peers.sweep()
        turn = Turn(self._peers_folder, patience_s=self._busy_timeout_s)
        self._writer = Writer(writing, turn, finished=self._finished, sync_failed=self._report_failed_sync)

    async def aclose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
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
            self._writer.submit(Commit(writes, future))
        else:
            future.set_exception(StoreUnavailableError(_CLOSED))
        return future

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE run_id = ? AND app = ? ORDER BY attempt DESC LIMIT 1"
        rows = await self._read(query, run_id, app)
        return sql.run_record(rows[0]) if rows else None

    async def runs(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> list[RunRecord]:
        conditions, values = _conditions(app, wanted, after)
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE {conditions} ORDER BY key DESC LIMIT ?"
        return [sql.run_record(row) for row in await self._read(query, *values, limit)]

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        query = f"SELECT {sql.STEP_COLUMNS} FROM steps WHERE run_key IN ({sql.marks(keys)}) ORDER BY run_key, seq"
        found: dict[str, list[StepRecord]] = {key: [] for key in keys}
        for row in await self._read(query, *keys):
            record = sql.step_record(row)
            found[record.run_key].append(record)
        return found

    async def claim_runs(self, app: str, owner: str, workflows: Sequence[str], *, limit: int) -> list[RunRecord]:
        return await self._call(
            lambda connection: takeover.claim_runs(
                connection, self._peers, app=app, owner=owner, workflows=workflows, limit=limit
            )
        )

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE app = ? AND owner = ? AND cancel_us IS NOT NULL"
        return [sql.run_record(row) for row in await self._read(f"{query} AND {sql.UNENDED}", app, owner)]

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:
        await self._call(
            lambda connection: takeover.register(connection, self._peers, app=app, owner=owner, lease_s=lease_s)
        )

    async def retire(self, owner: str) -> None:
        await self._call(lambda connection: takeover.retire(connection, self._peers, owner=owner), hints=True)

    # --- embedded queues ---
    async def bindings(self, app: str) -> list[tuple[str, str]]:
        query = "SELECT subscriber, pattern FROM bindings WHERE app = ? ORDER BY subscriber, pattern"
        return [(subscriber, pattern) for subscriber, pattern in await self._read(query, app)]

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM bindings WHERE app = ? AND subscriber = ?", (app, subscriber))
            rows = [(app, subscriber, pattern) for pattern in dict.fromkeys(patterns)]
            connection.executemany("INSERT INTO bindings (app, subscriber, pattern) VALUES (?, ?, ?)", rows)

        await self._call(work)

    async def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool = False
    ) -> list[QueuedDelivery]:
        return await self._call(
            lambda connection: takeover.take(
                connection,
                self._peers,
                app=app,
                subscriber=subscriber,
                owner=owner,
                limit=limit,
                now_us=now_us,
                ordered=ordered,
            )
        )

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        first = (
            "SELECT CASE owner WHEN '' THEN due_us END AS due_us FROM deliveries"
            " WHERE app = ? AND subscriber = ? AND reason = '' ORDER BY seq LIMIT 1"
            if ordered
            else "SELECT min(due_us) AS due_us FROM deliveries"
            " WHERE app = ? AND subscriber = ? AND reason = '' AND owner = ''"
        )
        dues = [(await self._read(first, app, subscriber)) for subscriber in subscribers]
        return min((due_us for rows in dues for (due_us,) in rows if due_us is not None), default=None)

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        query = (
            "SELECT subscriber, sum(ready), sum(owned), sum(dead) FROM ("
            " SELECT subscriber, owner = '' AS ready, owner <> '' AS owned, 0 AS dead"
            " FROM deliveries INDEXED BY deliveries_due WHERE app = ? AND reason = ''"
            " UNION ALL SELECT subscriber, 0, 0, 1 FROM deliveries WHERE app = ? AND reason <> ''"
            ") GROUP BY subscriber"
        )
        rows = await self._read(query, app, app)
        return {subscriber: (ready, owned, dead) for subscriber, ready, owned, dead in rows}

    async def dead(self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int) -> list[QueuedDelivery]:
        query = f"SELECT {sql.DELIVERY_COLUMNS} FROM deliveries WHERE app = ? AND subscriber = ? AND reason <> ''"
        if ids is not None:
            query += f" AND event_id IN ({sql.marks(ids)})"
        rows = await self._read(f"{query} ORDER BY seq LIMIT ?", app, subscriber, *(ids or ()), limit)
        return [sql.delivery(row) for row in rows]

    async def handled(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> bool:
        return await self._inbox.has(app, subscriber, source, event_name, event_id)

    # --- jobs ---
    async def firings(self, app: str, job: str, *, limit: int, before_us: int | None = None) -> list[FiringRecord]:
        query = f"SELECT {sql.FIRING_COLUMNS} FROM firings WHERE app = ? AND job = ? AND scheduled_us < ?"
        before_us = _LATEST_US if before_us is None else before_us
        rows = await self._read(f"{query} ORDER BY scheduled_us DESC LIMIT ?", app, job, before_us, limit)
        return [sql.firing_record(row) for row in rows]

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        return await self._call(
            lambda connection: takeover.claim_firings(
                connection, self._peers, app=app, owner=owner, jobs=jobs, limit=limit
            )
        )

    # --- outbox ---
    async def outgoing(self, app: str, *, limit: int) -> list[OutgoingEvent]:
        query = f"SELECT {sql.EVENT_COLUMNS} FROM outbox WHERE app = ? ORDER BY position LIMIT ?"
        return in_order([sql.outgoing_event(row) for row in await self._read(query, app, limit)])

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        self._peers.listen(self._loop, self._call_back)
        self._hints.append(callback)
        return lambda: self._hints.remove(callback)

    def _call_back(self) -> None:
        for callback in tuple(self._hints):
            callback()

    # --- threads ---
    async def _read(self, query: str, *values: object) -> list[sql.Row]:
        def work() -> list[sql.Row]:
            try:
                return self._reading.execute(query, values).fetchall()
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
        self._writer.submit(Call(work, future, hints=hints))
        return await future

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


def _conditions(app: str, wanted: RunFilter, after: str | None) -> tuple[str, list[object]]:
    """Return the condition that chooses runs, and its values."""
    conditions: list[tuple[str, tuple[object, ...]]] = [("app = ?", (app,))]
    if after is not None:
        conditions.append(("key < ?", (after,)))
    if wanted.workflow is not None:
        conditions.append(("workflow = ?", (wanted.workflow,)))
    if wanted.status is not None:
        # The second says the same again, in the words of the index.
        conditions.append(("status = ?", (wanted.status,)))
        if wanted.status != "completed":
            conditions.append(("status <> 'completed'", ()))
    if wanted.since_us is not None:
        conditions.append(("created_us >= ?", (wanted.since_us,)))
    if wanted.trigger is not None:
        kind, separator, name = wanted.trigger.partition(":")
        conditions.append(("json_extract(CAST(trigger AS TEXT), '$.kind') = ?", (kind,)))
        if separator:
            conditions.append(("json_extract(CAST(trigger AS TEXT), '$.name') = ?", (name,)))
    if wanted.text is not None:
        conditions.append(("contains(?, run_id, workflow, input, errors)", (wanted.text,)))
    return " AND ".join(condition for condition, _ in conditions), [each for _, some in conditions for each in some]
