"""Which firing times have passed, and what becomes of them; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile

from daemon.schedule.options import Schedule

_CLOSE = timedelta(milliseconds=1)  # no two firing times are closer


def latest_ticks(schedule: Schedule, *, after: datetime, until: datetime, limit: int) -> tuple[list[datetime], bool]:
    """Return the latest firing times in (after, until], in order, and whether they are all.

    All, if they are `limit` or fewer; else half of `limit` or more. A search by halves finds where to begin, so that a
    week of seconds is not listed to get at its last minutes.
    """
    ticks = _ticks(schedule, after, until, limit)
    if len(ticks) <= limit:
        return ticks, True
    # More than `limit` times lie after `early`, and at most `limit` after `late`; these are `ticks` from now on.
    early, late, ticks = after, until, []
    while len(ticks) < limit // 2 and late - early > _CLOSE:
        middle = early + (late - early) / 2
        found = _ticks(schedule, middle, until, limit)
        if len(found) > limit:
            early = middle
        else:
            late, ticks = middle, found
    return ticks, False


def _ticks(schedule: Schedule, after: datetime, until: datetime, limit: int) -> list[datetime]:
    return list(islice(takewhile(lambda tick: tick <= until, schedule.upcoming(after)), limit + 1))


def sort_out(
    schedule: Schedule, ticks: Sequence[datetime], *, now: datetime, grace: timedelta
) -> tuple[list[datetime], list[datetime]]:
    """Part firing times that have passed into those that fire now and those that were missed, each in order.

    Args:
        schedule: Its policy and window say which of the missed ones are made up for.
        ticks: In order, none after `now`.
        now: By the wall clock.
        grace: What is not further back is late, not missed: it fires whatever the policy is.
    """
    late = [tick for tick in ticks if now - tick <= grace]
    missed = list(ticks[: len(ticks) - len(late)])
    made_up: list[datetime] = []
    if schedule.catch_up == "all" or (schedule.catch_up == "latest" and not late):
        made_up = [tick for tick in missed if now - tick <= schedule.catch_up_window]
        if schedule.catch_up == "latest":
            made_up = made_up[-1:]
    return made_up + late, missed[: len(missed) - len(made_up)]
