"""The store on PostgreSQL: one database for the daemons of any number of hosts."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from math import inf

from daemon.errors import StoreUnavailableError
from daemon.store import postgres_queries as queries
from daemon.store import postgres_retention as retention
from daemon.store import postgres_takeover as takeover
from daemon.store import sql, walks
from daemon.store.inbox import Inbox
from daemon.store.listing import in_order
from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord
from daemon.store.port import NOTHING, FoundRuns, RunFilter
from daemon.store.postgres_database import CLOSED
from daemon.store.postgres_jobs import PostgresJobs
from daemon.store.postgres_lists import numbered

_RETIRE_S = 5.0


class PostgresStore(PostgresJobs):
    """Keeps everything in one PostgreSQL database, which any number of processes may use.

    A process is dead when its lease is over, by the database's clock. What others take over from it is fenced: a
    commit locks the rows that it depends on until it is durable.

    It has a schema of its own, which is made if it is missing. It uses up to five connections: one commits, one tells
    and hears news, and up to three read.

    Positions of signals, deliveries and staged events ascend in the order in which they were written, but may become
    visible in another one if several processes write: `signalled(after=n)` may miss one that is told of too late, so
    whoever asks so also asks with 0 now and then. Those of one process, and so of one run, keep their order.

    Args:
        url: `postgresql://user:password@host/database?sslmode=...`
        app: The application whose processes tell each other news.
        schema: The name of the schema.
        migrates: Whether opening brings an older schema up to date; else it raises `StoreVersionError`.
    """

    def __init__(self, url: str, *, app: str, schema: str = "sagad", migrates: bool = True) -> None:
        super().__init__(url, app=app, schema=schema, migrates=migrates)
        self._inbox = Inbox(lambda keys: self._read(queries.HANDLED, *map(list, zip(*keys, strict=True))))

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        rows = await self._read(queries.LATEST_RUN, run_id, app)
        return sql.run_record(rows[0]) if rows else None

    async def runs(
        self, app: str, wanted: RunFilter, *, after: str | None, limit: int, within_s: float = inf
    ) -> FoundRuns:
        if not self._is_open:
            raise StoreUnavailableError(CLOSED)
        deadline_s = self._loop.time() + within_s
        asking = walks.pages(
            self._lists, app, wanted, after=after, limit=limit, is_over=lambda: self._loop.time() > deadline_s
        )
        rows: list[sql.Row] | None = None
        while True:
            try:
                query, values = asking.send(rows) if rows is not None else next(asking)
            except StopIteration as done:
                found: FoundRuns = done.value
                return found
            rows = await self._read(numbered(query), *values)

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        return sql.by_run(keys, await self._read(queries.STEPS, list(keys)))

    async def children(self, root_keys: Sequence[str]) -> dict[str, list[RunRecord]]:
        found: dict[str, list[RunRecord]] = {key: [] for key in root_keys}
        for record in map(sql.run_record, await self._read(queries.CHILDREN, list(root_keys))):
            if record.root_key is not None:
                found[record.root_key].append(record)
        return found

    async def graph(self, graph_hash: str) -> bytes | None:
        rows = await self._read(queries.GRAPH, graph_hash)
        return rows[0][0] if rows else None

    async def unended(self, app: str, *, after: str | None, limit: int) -> list[RunRecord]:
        return [sql.run_record(row) for row in await self._read(queries.UNENDED_PAGE, app, after or "", limit)]

    async def unknown(self, app: str, workflows: Sequence[str]) -> dict[str, int]:
        rows = await self._read(queries.UNKNOWN, app, list(workflows))
        return {workflow: count for workflow, count in rows}  # noqa: C416 - a record is no pair to the type checker

    async def claim_runs(
        self, app: str, owner: str, workflows: Sequence[str], *, limit: int, without: Mapping[str, int] = NOTHING
    ) -> list[RunRecord]:
        return await self._call(
            lambda link: takeover.claim_runs(
                link, app=app, owner=owner, workflows=workflows, limit=limit, without=without
            )
        )

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        return [sql.run_record(row) for row in await self._read(queries.CANCELLATIONS, app, owner)]

    async def oldest_run_us(self, app: str, workflows: Sequence[str] | None) -> int | None:
        asked = None if workflows is None else list(workflows)
        oldest_us: int | None = (await self._read(queries.OLDEST_RUN, app, asked))[0][0]
        return oldest_us

    # --- signals ---
    async def signal(self, app: str, topic: str, since_us: int) -> Signal | None:
        rows = await self._read(queries.SIGNAL, app, topic, since_us)
        return sql.signal(rows[0]) if rows else None

    async def signalled(self, app: str, owner: str, *, after: int = 0) -> tuple[list[RunRecord], int]:
        ((last,),) = await self._read(queries.LAST_SIGNAL)
        if last <= after:
            return [], after
        rows = await self._read(queries.SIGNALLED, app, owner, after, last)
        return [sql.run_record(row) for row in rows], last

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:
        await self._call(lambda link: takeover.register(link, app=app, owner=owner, lease_s=lease_s))

    async def retire(self, owner: str) -> None:
        if self._is_open and not self._writer.is_idle:
            await self._submitted_is_written()
        await self._call(lambda link: takeover.retire(link, owner=owner))
        self._hinted()

    async def _submitted_is_written(self) -> None:
        """Return when everything that was submitted before is decided: it would be void once the lease is over."""
        try:
            async with asyncio.timeout(_RETIRE_S):
                await self.commit()
        except TimeoutError as error:
            raise StoreUnavailableError(self.trouble or "The database is too slow.") from error

    # --- embedded queues ---
    async def bindings(self, app: str) -> list[tuple[str, str]]:
        return [(subscriber, pattern) for subscriber, pattern in await self._read(queries.BINDINGS, app)]

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        await self._call(lambda link: takeover.bind(link, app=app, subscriber=subscriber, patterns=patterns))

    async def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool = False
    ) -> list[QueuedDelivery]:
        return await self._claims.make(
            ("deliveries", app, subscriber, owner),
            lambda link: takeover.take(
                link, app=app, subscriber=subscriber, owner=owner, limit=limit, now_us=now_us, ordered=ordered
            ),
            lambda link, taken: takeover.still_taken(link, owner, taken),
        )

    async def park(self, delivery: QueuedDelivery) -> int:
        return await self._call(lambda link: takeover.park(link, delivery))

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        query = queries.NEXT_DUE_IN_ORDER if ordered else queries.NEXT_DUE
        due_us: int | None = (await self._read(query, app, list(subscribers)))[0][0]
        return due_us

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        rows = await self._read(queries.DEPTHS, app)
        return {subscriber: (ready, owned, dead) for subscriber, ready, owned, dead in rows}

    async def dead(
        self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int, after: int = 0
    ) -> list[QueuedDelivery]:
        rows = await self._read(queries.DEAD, app, subscriber, None if ids is None else list(ids), limit, after)
        return [sql.delivery(row) for row in rows]

    def handled(
        self, app: str, subscriber: str, source: str, event_name: str, event_id: str
    ) -> Awaitable[bytes | None]:
        return self._inbox.body_hash(app, subscriber, source, event_name, event_id)

    # --- deliveries of a broker ---
    async def receipt(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> Receipt | None:
        rows = await self._read(queries.RECEIPT, app, subscriber, source, event_name, event_id)
        return sql.receipt(rows[0]) if rows else None

    async def claim_receipt(self, app: str, subscriber: str, mark: str, owner: str) -> Receipt | None:
        claimed = await self._claims.make(
            ("receipts", app, subscriber, mark, owner),
            lambda link: takeover.claim_receipt(link, app=app, subscriber=subscriber, mark=mark, owner=owner),
            lambda link, claimed: takeover.still_named(link, owner, claimed),
        )
        return claimed[0] if claimed else None

    # --- outbox ---
    async def claim_outgoing(self, app: str, owner: str, *, limit: int) -> int:
        return await self._call(lambda link: takeover.claim_outgoing(link, app=app, owner=owner, limit=limit))

    async def outgoing(self, app: str, *, limit: int, after: int = 0, owner: str | None = None) -> list[OutgoingEvent]:
        if owner is None:
            rows = await self._read(queries.OUTGOING, app, after, limit)
        else:
            rows = await self._read(queries.OWN_OUTGOING, app, owner, after, limit)
        return in_order(list(map(sql.outgoing_event, rows)))

    # --- retention ---
    async def prune_runs(
        self, app: str, *, before_us: int, workflow: str | None, without: Sequence[str] = (), limit: int
    ) -> int:
        return await self._call(
            lambda link: retention.prune_runs(
                link, app=app, before_us=before_us, workflow=workflow, without=without, limit=limit
            )
        )

    async def prune_handled(self, app: str, *, before_us: int, limit: int) -> int:
        return await self._call(lambda link: retention.prune_handled(link, app=app, before_us=before_us, limit=limit))

    async def prune_firings(self, app: str, *, before_us: int, limit: int) -> int:
        return await self._call(lambda link: retention.prune_firings(link, app=app, before_us=before_us, limit=limit))

    async def prune_signals(self, app: str, *, topic_prefix: str, before_us: int, limit: int) -> int:
        return await self._call(
            lambda link: retention.prune_signals(
                link, app=app, topic_prefix=topic_prefix, before_us=before_us, limit=limit
            )
        )
