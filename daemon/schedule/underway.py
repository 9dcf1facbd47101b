"""The firings that this process has: each in a task of its own, from its claim to its recorded end."""

import asyncio
from collections.abc import Mapping

from daemon.log import get_logger
from daemon.schedule.claim import Surroundings
from daemon.schedule.firing import Firing
from daemon.schedule.lane import Lane
from daemon.schedule.turns import Turns
from daemon.store.job_model import FiringRecord, FiringState, Overlap
from daemon.store.writes import Outcome, ReleaseFiring, UpdateFiring

_TAKEN_MAX = 1_000  # firings that are taken over at one look
_log = get_logger(__name__)


class Underway:
    """What runs, or waits for its delay, its turn or its next attempt; what is not ended here is left to others."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._firings: set[Firing] = set()
        self._turns: dict[str, Turns] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._firings)

    def begin(self, lane: Lane, record: FiringRecord, overlap: Overlap, *, is_taken_over: bool = False) -> None:
        """Start the task of a firing that is ours."""
        if self._around.stopping():
            self._around.store.commit(ReleaseFiring(record))
            return
        turns = self._turns.get(record.job) or self._turns.setdefault(record.job, Turns())
        firing = Firing(lane.job, record, self._around, turns, overlap)
        self._firings.add(firing)
        firing.task = asyncio.get_running_loop().create_task(self._conduct(firing, is_taken_over=is_taken_over))
        firing.task.add_done_callback(lambda task: self._let_go(firing, turns, task))

    async def _conduct(self, firing: Firing, *, is_taken_over: bool) -> None:
        try:
            await (firing.resume() if is_taken_over else firing.run())
        except Exception:  # noqa: BLE001 - the store's, or ours; the handler's are its firing's failure
            _log.exception("job_not_fired", job=firing.record.job, scheduled_for=firing.scheduled_for.isoformat())

    def _let_go(self, firing: Firing, turns: Turns, task: asyncio.Task[None]) -> None:
        self._firings.discard(firing)
        if task.cancelled():  # which it may be before it has begun
            self._around.store.commit(ReleaseFiring(firing.record))
        turns.call()

    async def take_over(self, lanes: Mapping[str, Lane]) -> None:
        """Pick up firings that are nobody's, and those whose process died; have those that wait ask again."""
        for turns in self._turns.values():
            turns.call()
        around = self._around
        if not around.may_take_over():
            return
        for record in await around.store.claim_firings(around.app, around.owner, [*lanes], limit=_TAKEN_MAX):
            lane = lanes[record.job]
            overlap: Overlap = "allow" if lane.job.schedule.overlap == "allow" else "queue"
            self.begin(lane, record, overlap, is_taken_over=True)

    async def confirm(self) -> None:
        """Cancel the handlers of firings that others have taken over while our lease was over."""
        running = [firing for firing in self._firings if firing.record.state is FiringState.RUNNING]
        asked = [(firing, self._around.store.commit(UpdateFiring(firing.record))) for firing in running]
        for firing, answer in asked:
            if await answer is Outcome.FENCED:
                firing.lose()

    # --- the end ---

    def leave(self) -> None:
        """Leave what waits to whoever goes on."""
        for firing in self._firings:
            if firing.waiting:
                firing.task.cancel()

    def cancel(self) -> None:
        """Cancel what runs, too."""
        for firing in self._firings:
            firing.task.cancel()

    async def ended(self) -> None:
        """Return once nothing runs any more."""
        while self._firings:
            await asyncio.wait([firing.task for firing in self._firings])
