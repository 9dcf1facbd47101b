"""The store on SQLite: one file for the daemons of one host."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Literal

from daemon.store import retention, sql, sqlite_lists, takeover, walks
from daemon.store.inbox import Inbox
from daemon.store.listing import in_order
from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord
from daemon.store.port import NOTHING, FoundRuns, RunFilter
from daemon.store.sqlite_jobs import SqliteJobs

_FEW_SIGNALS = 1_000


class SqliteStore(SqliteJobs):
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
        migrates: Whether opening brings an older schema up to date; else it raises `StoreVersionError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout_s: float = 5.0,
        sync_failed: Callable[[Exception], object] = lambda _: None,
        migrates: bool = True,
    ) -> None:
        super().__init__(
            path, synchronous=synchronous, busy_timeout_s=busy_timeout_s, sync_failed=sync_failed, migrates=migrates
        )
        self._inbox = Inbox(lambda keys: self._read(sql.HANDLED, json.dumps(keys)))

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE run_id = ? AND app = ? ORDER BY attempt DESC LIMIT 1"
        rows = await self._read(query, run_id, app)
        return sql.run_record(rows[0]) if rows else None

    async def runs(
        self, app: str, wanted: RunFilter, *, after: str | None, limit: int, within_s: float = inf
    ) -> FoundRuns:
        deadline_s = self._loop.time() + within_s
        asking = walks.pages(
            sqlite_lists, app, wanted, after=after, limit=limit, is_over=lambda: self._loop.time() > deadline_s
        )
        return await self._ask(asking)

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        query = f"SELECT {sql.STEP_COLUMNS} FROM steps WHERE run_key IN ({sql.marks(keys)})"
        return sql.by_run(keys, await self._read(query, *keys))

    async def children(self, root_keys: Sequence[str]) -> dict[str, list[RunRecord]]:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE root_key IN {sql.LISTED} ORDER BY key"
        found: dict[str, list[RunRecord]] = {key: [] for key in root_keys}
        for record in map(sql.run_record, await self._read(query, sql.listed(root_keys))):
            if record.root_key is not None:
                found[record.root_key].append(record)
        return found

    async def graph(self, graph_hash: str) -> bytes | None:
        rows = await self._read("SELECT graph FROM graphs WHERE hash = ?", graph_hash)
        return rows[0][0] if rows else None

    async def unended(self, app: str, *, after: str | None, limit: int) -> list[RunRecord]:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs INDEXED BY runs_unended WHERE app = ? AND {sql.UNENDED_ROOT}"
        rows = await self._read(f"{query} AND key > ? ORDER BY key LIMIT ?", app, after or "", limit)
        return list(map(sql.run_record, rows))

    async def unknown(self, app: str, workflows: Sequence[str]) -> dict[str, int]:
        return dict(await self._read(sql.UNKNOWN, app, sql.listed(workflows)))

    async def claim_runs(
        self, app: str, owner: str, workflows: Sequence[str], *, limit: int, without: Mapping[str, int] = NOTHING
    ) -> list[RunRecord]:
        return await self._call(
            lambda connection: takeover.claim_runs(
                connection, self._peers, app=app, owner=owner, workflows=workflows, limit=limit, without=without
            )
        )

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        query = f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE app = ? AND owner = ? AND cancel_us IS NOT NULL"
        return [sql.run_record(row) for row in await self._read(f"{query} AND {sql.UNENDED}", app, owner)]

    async def oldest_run_us(self, app: str, workflows: Sequence[str] | None) -> int | None:
        rows = await self._read(sql.OLDEST_RUN, app, app, app, None if workflows is None else sql.listed(workflows))
        return rows[0][0] if rows else None

    # --- signals ---
    async def signal(self, app: str, topic: str, since_us: int) -> Signal | None:
        query = f"SELECT {sql.SIGNAL_COLUMNS} FROM signals WHERE app = ? AND topic = ? AND at_us >= ?"
        rows = await self._read(f"{query} ORDER BY at_us, position LIMIT 1", app, topic, since_us)
        return sql.signal(rows[0]) if rows else None

    async def signalled(self, app: str, owner: str, *, after: int = 0) -> tuple[list[RunRecord], int]:
        ((last,),) = await self._read("SELECT coalesce(max(position), 0) FROM signals")
        if last <= after:
            return [], after
        if after and last - after <= _FEW_SIGNALS:
            rows = await self._read(sql.SIGNALLED_LATELY, app, owner, after)
        else:
            rows = await self._read(sql.SIGNALLED, app, app, owner, after)
        return [sql.run_record(row) for row in rows], last

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

    async def park(self, delivery: QueuedDelivery) -> int:
        return await self._call(lambda connection: takeover.park(connection, delivery), hints=True)

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

    async def dead(
        self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int, after: int = 0
    ) -> list[QueuedDelivery]:
        of = "app = ? AND subscriber = ? AND reason <> '' AND seq > ?"
        query = f"SELECT {sql.DELIVERY_COLUMNS} FROM deliveries WHERE {of}"
        if ids is not None:
            query += f" AND event_id IN ({sql.marks(ids)})"
        rows = await self._read(f"{query} ORDER BY seq LIMIT ?", app, subscriber, after, *(ids or ()), limit)
        return [sql.delivery(row) for row in rows]

    def handled(
        self, app: str, subscriber: str, source: str, event_name: str, event_id: str
    ) -> Awaitable[bytes | None]:
        return self._inbox.body_hash(app, subscriber, source, event_name, event_id)

    # --- deliveries of a broker ---
    async def receipt(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> Receipt | None:
        rows = await self._read(sql.RECEIPT, app, subscriber, source, event_name, event_id)
        return sql.receipt(rows[0]) if rows else None

    async def claim_receipt(self, app: str, subscriber: str, mark: str, owner: str) -> Receipt | None:
        return await self._call(
            lambda connection: takeover.claim_receipt(
                connection, self._peers, app=app, subscriber=subscriber, mark=mark, owner=owner
            )
        )

    # --- outbox ---
    async def claim_outgoing(self, app: str, owner: str, *, limit: int) -> int:
        return await self._call(
            lambda connection: takeover.claim_outgoing(connection, self._peers, app=app, owner=owner, limit=limit)
        )

    async def outgoing(self, app: str, *, limit: int, after: int = 0, owner: str | None = None) -> list[OutgoingEvent]:
        if owner is None:
            rows = await self._read(sql.OUTGOING, app, after, limit)
        else:
            rows = await self._read(sql.OWN_OUTGOING, app, owner, after, limit)
        return in_order(list(map(sql.outgoing_event, rows)))

    # --- retention ---
    async def prune_runs(
        self, app: str, *, before_us: int, workflow: str | None, without: Sequence[str] = (), limit: int
    ) -> int:
        return await self._call(
            lambda connection: retention.prune_runs(
                connection, app=app, before_us=before_us, workflow=workflow, without=without, limit=limit
            )
        )

    async def prune_handled(self, app: str, *, before_us: int, limit: int) -> int:
        return await self._call(
            lambda connection: retention.prune_handled(connection, app=app, before_us=before_us, limit=limit)
        )

    async def prune_firings(self, app: str, *, before_us: int, limit: int) -> int:
        return await self._call(
            lambda connection: retention.prune_firings(connection, app=app, before_us=before_us, limit=limit)
        )

    async def prune_signals(self, app: str, *, topic_prefix: str, before_us: int, limit: int) -> int:
        return await self._call(
            lambda connection: retention.prune_signals(
                connection, app=app, topic_prefix=topic_prefix, before_us=before_us, limit=limit
            )
        )
