"""One job as the scheduler sees it: where it stands among its firing times."""

import asyncio
from datetime import datetime
from typing import Any

from daemon.schedule.job import Job
from daemon.store.model import FiringState
from daemon.store.port import Store

_PAGE = 1_000
_UNCOUNTED = frozenset({FiringState.SKIPPED, FiringState.MISSED})


class Lane:
    """One job: until when its firing times are dealt with, which one is next, and whose turn it is.

    Attributes:
        due: The first firing time after `seen`; None if there is none.
        left: How many firings are left of `max_runs`; None: no limit.
        opened: How many firings run or wait in this process.
    """

    __slots__ = ("_ticks", "due", "job", "left", "opened", "seen", "turn")

    def __init__(self, job: Job[Any], seen: datetime, left: int | None, turn: asyncio.Lock) -> None:
        self.opened = 0
        self.turn = turn
        self.go_to(seen, job, left)

    def go_to(self, moment: datetime, job: Job[Any], left: int | None) -> None:
        """Have everything up to a moment dealt with, and go on as this job says."""
        self.job, self.left, self.seen = job, left, moment
        self._ticks = job.schedule.upcoming(moment)
        self.due = next(self._ticks, None)

    def go_on(self, now: datetime) -> bool:
        """Have everything up to now dealt with; tell whether that was a single firing time."""
        self.seen = now
        self.due = next(self._ticks, None)
        if self.due is None or self.due > now:
            return True
        self.go_to(now, self.job, self.left)
        return False


async def firings_left(store: Store, app: str, job: Job[Any]) -> int | None:
    """Return how many firings of `max_runs` are left, as the store has it; None: no limit."""
    left, before_us = job.schedule.max_runs, None
    while left:
        page = await store.firings(app, job.name, limit=_PAGE, before_us=before_us)
        left = max(0, left - sum(each.state not in _UNCOUNTED for each in page))
        if len(page) < _PAGE:
            break
        before_us = page[-1].scheduled_us
    return left
