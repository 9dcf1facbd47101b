"""Deletes what was kept for long enough, a little at a time, so that runs that go on hardly notice."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from functools import partial

from daemon.clock import Clock
from daemon.engine.engine import WorkflowEngine
from daemon.engine.waiting import topics_of_node
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.port import Store

_EVERY_S = 60.0
_BATCH = 500
_PAUSE_S = 0.1
_MICROSECOND = timedelta(microseconds=1)
_SLACK = timedelta(minutes=1)  # a run is stored a moment after it began, and clocks of daemons differ
log = get_logger(__name__)


class Retention:
    """Deletes, at the start and then every minute, what nobody is to find any more.

    * Runs, as long after their end as their workflow's `retention` says, else `keep`: with their children and steps.
    * Firings of jobs, what was ordered of them, and what is known of handled events, after `keep`.
    * Signals, once no run can be there that they came for: they are older than every unended run that could.

    A run that has not ended is never deleted, whatever its age. Any number of daemons may do this at the same time.

    Args:
        engine: Knows the workflows, and which of their nodes wait for events.
        keep: For how long; zero: for ever, where a workflow does not say otherwise.
    """

    def __init__(
        self,
        engine: WorkflowEngine,
        store: Store,
        clock: Clock,
        *,
        app: str,
        keep: timedelta,
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._app = app
        self._keep = keep
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; what goes wrong is logged, and tried again after a minute."""
        self._task = asyncio.create_task(self._go_on(), name="retention")

    async def aclose(self) -> None:
        """Delete nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _go_on(self) -> None:
        is_away = False
        while True:
            try:
                counts = await self.apply()
                (log.info if any(counts.values()) else log.debug)("retention_applied", **counts)
                is_away = False
            except StoreUnavailableError as error:
                (log.debug if is_away else log.warning)("retention_not_applied", reason=str(error))
                is_away = True
            except Exception:
                log.exception("retention_failed")
            await self._clock.sleep(_EVERY_S)

    async def apply(self) -> dict[str, int]:
        """Delete what is due now, and return how many runs, events, firings and signals that were.

        Raises:
            StoreUnavailableError: The store went away meanwhile; the rest is still there.
        """
        return {
            "runs": await self._prune_runs(),
            "events": await self._prune_old(self._store.prune_handled),
            "firings": await self._prune_old(self._store.prune_firings),
            "signals": await self._prune_signals(),
        }

    async def _prune_runs(self) -> int:
        own = {each.name: each.retention for each in self._engine.workflows.values() if each.retention is not None}
        deleted = 0
        for workflow, keep in own.items():
            deleted += await self._prune(self._store.prune_runs, before_us=self._ago_us(keep), workflow=workflow)
        prune = partial(self._store.prune_runs, workflow=None, without=tuple(own))
        return deleted + await self._prune_old(prune)

    async def _prune_old(self, prune: Callable[..., Awaitable[int]]) -> int:
        return await self._prune(prune, before_us=self._ago_us(self._keep)) if self._keep else 0

    async def _prune_signals(self) -> int:
        """Delete the events that came for nobody who is still there, and the reports of steps that have ended."""
        incoming, prune = self._engine.incoming, self._store.prune_signals
        deleted = await self._prune(prune, topic_prefix="", before_us=await self._oldest_us(None))
        for workflow, node in incoming.nodes():
            before_us = await self._oldest_us(incoming.around(workflow))
            deleted += await self._prune(prune, topic_prefix=topics_of_node(workflow, node), before_us=before_us)
        return deleted

    async def _oldest_us(self, workflows: Collection[str] | None) -> int:
        """Return before when no run of these workflows was started that goes on, nor one that is just being stored."""
        asked = None if workflows is None else tuple(workflows)
        now_us = self._ago_us(timedelta())
        oldest_us = await self._store.oldest_run_us(self._app, asked)
        return (now_us if oldest_us is None else oldest_us) - _SLACK // _MICROSECOND

    def _ago_us(self, age: timedelta) -> int:
        return self._clock.now_us() - age // _MICROSECOND

    async def _prune(self, prune: Callable[..., Awaitable[int]], **which: object) -> int:
        """Delete batch by batch until there is nothing left, and return how many."""
        deleted = 0
        while True:
            batch = await prune(self._app, **which, limit=_BATCH)
            deleted += batch
            if batch < _BATCH:
                return deleted
            await self._clock.sleep(_PAUSE_S)
