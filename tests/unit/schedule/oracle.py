"""When a cron expression fires, found by looking at every minute (or second): nothing is shared with the calculator.

What Debian's cron does is simulated: a loop that wakes up every minute, reads the zone's clock, and compares it with
the time up to which it has already run jobs. Slow, and simple enough to be believed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * sun",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_CORRECTION = timedelta(hours=3)


@dataclass(frozen=True)
class Moment:
    """One tick of the simulated cron's loop."""

    instant: datetime
    wall: datetime
    weekday: int  # 0 is Sunday


def timeline(zone: str, start: datetime, end: datetime, tick: timedelta = timedelta(minutes=1)) -> list[Moment]:
    """Return what a clock in `zone` shows at every tick from `start` to `end`, both UTC."""
    moments, instant, tzinfo = [], start, ZoneInfo(zone)
    while instant <= end:
        wall = instant.astimezone(tzinfo).replace(tzinfo=None, fold=0)
        moments.append(Moment(instant, wall, wall.isoweekday() % 7))
        instant += tick
    return moments


class Rules:
    """An expression as sets of numbers."""

    def __init__(self, expression: str) -> None:
        words = _NICKNAMES.get(expression, expression).split()
        if len(words) == 5:
            words = ["0", *words]
        self.seconds = _numbers(words[0], 0, 59, [])
        self.minutes = _numbers(words[1], 0, 59, [])
        self.hours = _numbers(words[2], 0, 23, [])
        self.days = _numbers(words[3], 1, 31, [])
        self.months = _numbers(words[4], 1, 12, ["", *_MONTHS])
        self.weekdays = {number % 7 for number in _numbers(words[5], 0, 7, _WEEKDAYS)}
        self.wild = words[1][0] == "*" or words[2][0] == "*"
        self.any_star_day = words[3][0] == "*" or words[5][0] == "*"

    def match(self, wall: datetime, weekday: int) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.second not in self.seconds:
            return False
        if wall.month not in self.months:
            return False
        day, week = wall.day in self.days, weekday in self.weekdays
        return (day and week) if self.any_star_day else (day or week)


def _numbers(text: str, low: int, high: int, names: list[str]) -> set[int]:
    found: set[int] = set()
    for item in text.lower().split(","):
        span, _, step = item.partition("/")
        ends = [names.index(end) if end in names else end for end in span.split("-")]
        if span == "*":
            ends = [low, high]
        first, last = int(ends[0]), int(ends[-1])
        found |= {number for number in range(first, last + 1) if (number - first) % int(step or 1) == 0}
    return found


def firings(expression: str, moments: list[Moment]) -> Iterator[datetime]:
    """Yield when the expression fires on a timeline, after its first moment."""
    rules = Rules(expression)
    tick = moments[1].instant - moments[0].instant
    done_until = last = moments[0].wall
    for moment in moments[1:]:
        wall, step = moment.wall, moment.wall - last - tick
        last = wall
        if abs(step) >= _CORRECTION:
            done_until = wall - tick
        if rules.wild or wall == done_until + tick:
            if rules.match(wall, moment.weekday):
                yield moment.instant
        elif wall > done_until and _match_between(rules, done_until, wall, tick):
            yield moment.instant
        done_until = max(done_until, wall)


def _match_between(rules: Rules, done_until: datetime, wall: datetime, tick: timedelta) -> bool:
    missed = done_until + tick
    while missed <= wall:
        if rules.match(missed, missed.isoweekday() % 7):
            return True
        missed += tick
    return False


def clock_changes(zone: str, first_year: int, last_year: int) -> list[datetime]:
    """Return the hours (UTC) in which the zone's offset changes, from one year's start to another's end."""
    tzinfo, changes = ZoneInfo(zone), []
    instant = datetime(first_year, 1, 1, tzinfo=UTC)
    end = datetime(last_year + 1, 1, 1, tzinfo=UTC)
    while instant < end:
        following = instant + timedelta(days=1)
        if instant.astimezone(tzinfo).utcoffset() != following.astimezone(tzinfo).utcoffset():
            hours = (instant + timedelta(hours=hour) for hour in range(1, 25))
            offset = instant.astimezone(tzinfo).utcoffset()
            changes.append(next(hour for hour in hours if hour.astimezone(tzinfo).utcoffset() != offset))
        instant = following
    return changes
