"""Keeps this process's lease, takes over the runs of the dead, and takes up what others ask of its own."""

import asyncio
from math import inf

from daemon.clock import Clock
from daemon.engine.engine import WorkflowEngine
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.port import Store

LEASE_S = 6.0
_BEAT_S = 2.0
_AGAIN_S = 0.5  # when the store failed
_BATCH = 100
_HEED_S = 0.1  # hints come for every event, too
log = get_logger(__name__)


class Recovery:
    """Announces this process to the store, and goes on with runs that nobody drives any more.

    What other processes ask of its runs it learns by a hint, and by looking every two seconds. Once it has missed the
    store for longer than its lease, it takes nothing over for as long as a lease: its peers may have missed it, too.

    Args:
        claims: Whether to take over others' runs; a process that only starts runs of its own does not.

    Attributes:
        regained: Awaited when a lease that was over has been renewed, before anything counts on it.
    """

    def __init__(
        self, engine: WorkflowEngine, store: Store, clock: Clock, *, app: str, owner: str, claims: bool
    ) -> None:
        self.regained = _no_news
        self._engine = engine
        self._store = store
        self._clock = clock
        self._app = app
        self._owner = owner
        self._claims = claims
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._hinted = asyncio.Event()
        self._leased_until_s = inf  # it has none yet
        self._spares_until_s = -inf
        self._is_lapsing = False
        self._unsubscribe = _nothing

    async def announce(self) -> None:
        """Take out the lease: what this process owns from now on is its own for as long as it lives."""
        asked_s = self._clock.monotonic_s()
        await self._store.register(self._app, self._owner, lease_s=LEASE_S)
        if self._clock.monotonic_s() >= self._leased_until_s:
            # It missed the store for so long: perhaps all did, and the others live, too, and are about to say so.
            self._spares_until_s = self._clock.monotonic_s() + LEASE_S
            await self.regained()
        self._leased_until_s = asked_s + LEASE_S

    @property
    def leased_until_s(self) -> float:
        """Until when the lease goes on for sure, by the clock; -inf if there is none."""
        return self._leased_until_s if self._leased_until_s < inf else -inf

    @property
    def is_leased(self) -> bool:
        """Whether the lease goes on for sure: else what this process takes, others take from it again at once."""
        return self._clock.monotonic_s() < self.leased_until_s

    @property
    def is_lapsed(self) -> bool:
        """Whether others may take this process for dead: the lease that it renews from `start` on is over."""
        return bool(self._tasks) and not self.is_leased

    @property
    def may_take_over(self) -> bool:
        """Whether what dead processes left may be taken now: all who live had the time to say so."""
        return not self.is_lapsed and self._clock.monotonic_s() >= self._spares_until_s

    async def start(self) -> None:
        """Take over what is there to be taken over, and keep looking."""
        if self._claims:
            await self._take_over()
            await self._engine.heed()
            await self._tell_of_unknown()
        self._unsubscribe = self._store.on_hint(self._hinted.set)
        self._tasks = (
            asyncio.create_task(self._beat(), name="recovery"),
            asyncio.create_task(self._heed(), name="requests"),
        )

    async def aclose(self) -> None:
        """Take over nothing more; the lease goes on until `retire`."""
        self._claims = False

    async def retire(self) -> None:
        """End the lease: others may claim what this process still owns."""
        self._unsubscribe()
        self._unsubscribe = _nothing
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._store.retire(self._owner)

    async def beat(self) -> None:
        """Renew the lease, take over what there is, and take up what is asked of its own."""
        await self.announce()
        await self._take_over()
        await self._engine.heed()

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(_AGAIN_S if self._is_lapsing else _BEAT_S)
            try:
                await self.beat()
                self._is_lapsing = False
            except Exception as error:  # noqa: BLE001 - the next beat may be better
                self._note("lease_not_renewed", error, is_known=self._is_lapsing)
                self._is_lapsing = True

    async def _heed(self) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            try:
                await self._engine.heed(everything=False)
            except Exception as error:  # noqa: BLE001 - the next beat makes up for it
                self._note("requests_not_read", error, is_known=True)  # the beat says so, or the store
            await self._clock.sleep(_HEED_S)

    def _note(self, event: str, error: Exception, *, is_known: bool) -> None:
        """Log what failed, once until it succeeds again; what was claimed meanwhile may not be known here."""
        self._engine.strays.suspected = True
        if isinstance(error, StoreUnavailableError):
            (log.debug if is_known else log.warning)(event, reason=str(error))
        else:
            log.error("recovery_failed", exc_info=error)

    async def _tell_of_unknown(self) -> None:
        """Log how many runs there are that nobody here can go on with, since their workflow is not known."""
        unknown = await self._store.unknown(self._app, list(self._engine.workflows))
        if unknown:
            log.warning("workflows_unknown", runs=sum(unknown.values()), workflows=unknown)

    async def _take_over(self) -> None:
        await self._engine.holding.review()
        while self._claims and self._clock.monotonic_s() >= self._spares_until_s:
            names = list(self._engine.workflows)
            declined = self._engine.holding.declined
            claimed = await self._store.claim_runs(self._app, self._owner, names, limit=_BATCH, without=declined)
            await self._engine.resume(claimed)
            if len(claimed) < _BATCH:
                return


def _nothing() -> None:
    """Unsubscribe from nothing."""


async def _no_news() -> None:
    """Tell nobody that there is a lease again."""
