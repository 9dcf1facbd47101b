"""Runs that this process owns and has lost sight of, since the store failed while it drove them, or claimed them."""

from collections.abc import Awaitable, Callable

from daemon.engine.execution import log
from daemon.engine.ports import Ports
from daemon.errors import StoreUnavailableError
from daemon.store.model import RunRecord
from daemon.store.writes import FenceRun, Outcome

_PAGE = 200


def is_away(error: BaseException) -> bool:
    """Tell whether it was the store that failed, also if that was noticed by one of several things at the same time."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_away(each) for each in error.exceptions)
    return isinstance(error, StoreUnavailableError)


class Strays:
    """Goes on with them. They are nobody else's: as long as this process lives, no other one takes them over.

    Args:
        is_here: Tells whether a run is driven, parked, or on its way to that.
        resume: Goes on with a run.

    Attributes:
        suspected: Whether there may be any; to be set whenever the store has failed.
    """

    def __init__(
        self, ports: Ports, *, is_here: Callable[[str], bool], resume: Callable[[RunRecord], Awaitable[None]]
    ) -> None:
        self.suspected = False
        self._ports = ports
        self._is_here = is_here
        self._resume = resume

    async def gather(self) -> None:
        """Look for them, if there may be any, and go on with each from what is stored of it.

        Raises:
            StoreUnavailableError: The store still fails; they are looked for the next time.
        """
        if not self.suspected:
            return
        store, app, owner, after = self._ports.store, self._ports.app, self._ports.owner, ""
        while page := await store.unended(app, after=after, limit=_PAGE):
            for record in page:
                if record.owner == owner and not self._is_here(record.run_id):
                    await self._take_up(record)
            after = page[-1].key
        self.suspected = False

    async def _take_up(self, record: RunRecord) -> None:
        store, app = self._ports.store, self._ports.app
        # Commits keep their order: what was on its way when the run was interrupted is written now, or never.
        outcome = await store.commit(FenceRun(record.key, record.owner, record.epoch))
        now = await store.run(app, record.run_id)
        is_stray = now is not None and now.key == record.key and not now.status.ended
        if outcome is Outcome.APPLIED and now is not None and is_stray and not self._is_here(record.run_id):
            log.info("run_resumed", run_id=now.run_id, workflow=now.workflow, status=now.status.value)
            await self._resume(now)
