"""APScheduler's plug-in: a trigger that asks a timetable."""

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from daemon.schedule.timetable import Timetable


class TimetableTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires at the times of a timetable, strictly after the previous firing or, at first, after now.

    What lies before is not the timer's to know: whoever keeps the record of firings catches up. After a late wake-up
    APScheduler asks for one missed time after the other; none is left out, and it gets no jitter here, since a
    jittered time would become the base of the next.
    """

    def __init__(self, timetable: Timetable) -> None:
        self.timetable = timetable

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the next firing time; None when the timetable has ended."""
        return next(self.timetable.upcoming(previous_fire_time or now), None)

    def __str__(self) -> str:
        return f"timetable[{self.timetable}]"
