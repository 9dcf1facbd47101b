"""Keeps this process's lease, and takes over the runs of processes that are dead."""

import asyncio

from daemon.clock import Clock
from daemon.engine.engine import WorkflowEngine
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.model import Store

LEASE_S = 6.0
_BEAT_S = 2.0
_BATCH = 100
log = get_logger(__name__)


class Recovery:
    """Announces this process to the store, and goes on with runs that nobody drives any more.

    Args:
        claims: Whether to take over others' runs; a process that only starts runs of its own does not.
    """

    def __init__(
        self, engine: WorkflowEngine, store: Store, clock: Clock, *, app: str, owner: str, claims: bool
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._app = app
        self._owner = owner
        self._claims = claims
        self._task: asyncio.Task[None] | None = None

    async def announce(self) -> None:
        """Take out the lease: what this process owns from now on is its own for as long as it lives."""
        await self._store.register(self._app, self._owner, lease_s=LEASE_S)

    async def start(self) -> None:
        """Take over what is there to be taken over, and keep looking."""
        if self._claims:
            await self._take_over()
        self._task = asyncio.create_task(self._beat(), name="recovery")

    async def aclose(self) -> None:
        """Take over nothing more; the lease goes on until `retire`."""
        self._claims = False

    async def retire(self) -> None:
        """End the lease: others may claim what this process still owns."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._store.retire(self._owner)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(_BEAT_S)
            try:
                await self.announce()
                await self._take_over()
            except StoreUnavailableError as error:
                log.warning("lease_not_renewed", reason=str(error))
            except Exception:
                log.exception("recovery_failed")

    async def _take_over(self) -> None:
        while self._claims:
            names = list(self._engine.workflows)
            claimed = await self._store.claim_runs(self._app, self._owner, names, limit=_BATCH)
            for record in claimed:
                log.info("run_resumed", run_id=record.run_id, workflow=record.workflow, status=record.status.value)
            await self._engine.resume(claimed)
            if len(claimed) < _BATCH:
                return
