"""Jobs as the scheduler sees them: where each stands among its firing times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from daemon.schedule.backlog import latest_ticks, sort_out
from daemon.schedule.job import Job

BACKLOG_MAX = 1_000  # missed firings of one job that are looked at


@dataclass(slots=True)
class Passed:
    """Firing times that have come.

    Attributes:
        since: Until when the job was dealt with before.
        due: Those that fire now, in order.
        missed: Those that do not, in order.
        left_out: Whether there were more before, which nobody lists.
    """

    since: datetime
    due: Sequence[datetime]
    missed: Sequence[datetime] = ()
    left_out: bool = False


class Lane:
    """One job: until when its firing times are dealt with, and which one is next.

    Attributes:
        due: The first firing time after `seen`; None if there is none.
        is_over: Whether it had all its firings.
        is_superseded: Whether another deployment has it otherwise, so that this one fires nothing of it.
        is_told: Whether that was logged.
    """

    __slots__ = ("_ticks", "due", "is_over", "is_superseded", "is_told", "job", "least_gap", "seen", "timing")

    def __init__(self, job: Job[Any], seen: datetime) -> None:
        self.is_over = self.is_superseded = self.is_told = False
        self.go_to(seen, job)

    @property
    def rests(self) -> bool:
        """Whether it fires nothing."""
        return self.is_over or self.is_superseded

    def go_to(self, moment: datetime, job: Job[Any]) -> None:
        """Have everything up to a moment dealt with, and go on as this job says."""
        self.job, self.seen = job, moment
        self.timing, self.least_gap = job.schedule.timing, job.schedule.least_gap
        self._ticks = job.schedule.upcoming(moment)
        self.due = next(self._ticks, None)

    def advance(self) -> None:
        """Work out the next firing time after the one that was dealt with last."""
        self.due = next(self._ticks, None)

    def take(self, now: datetime, grace: timedelta) -> Passed | None:
        """Return the firing times up to now, which are dealt with then; None if there are none.

        `due` is to be worked out anew, by `advance`, or is so already: then it is not one of those that were returned.
        """
        due, since = self.due, self.seen
        if due is None or due > now:
            return None
        self.seen = now
        late = now - due
        if late < self.least_gap and late <= grace:  # No other can have come since.
            self.due = None
            return Passed(since, (due,))
        ticks, is_all = latest_ticks(self.job.schedule, after=since, until=now, limit=BACKLOG_MAX)
        self.go_to(now, self.job)
        fire, missed = sort_out(self.job.schedule, ticks, now=now, grace=grace)
        return Passed(since, fire, missed, left_out=not is_all)


class Lanes(dict[str, Lane]):
    """The jobs of a process by name; which of thousands are fired is looked at when something has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changed()

    def changed(self) -> None:
        """Know that jobs have come or gone, rest or go on."""
        self._fired: dict[str, Lane] | None = None
        self._resting: list[Lane] | None = None

    @property
    def fired(self) -> Mapping[str, Lane]:
        """Those whose firings are this process's, by name: no other deployment has them."""
        if self._fired is None:
            self._fired = {name: lane for name, lane in self.items() if not lane.is_superseded}
        return self._fired

    @property
    def resting(self) -> Sequence[Lane]:
        """Those that fire nothing at the moment."""
        if self._resting is None:
            self._resting = [lane for lane in self.values() if lane.rests]
        return self._resting
