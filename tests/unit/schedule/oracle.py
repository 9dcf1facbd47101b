"""When a cron expression fires, found by looking at every minute (or second): nothing is shared with the calculator.

What Debian's cron does is simulated: a loop that wakes up every minute, reads the zone's clock, and compares it with
the time up to which it has already run jobs. Slow, and simple enough to be believed.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
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


class Wall(NamedTuple):
    """What a clock on the wall shows."""

    second: int
    minute: int
    hour: int
    day: int
    month: int
    weekday: int  # 0 is Sunday


class Moment(NamedTuple):
    """One tick of the simulated cron's loop.

    Attributes:
        instant: UTC.
        wall: What the clock shows.
        due: What it has come to show for the first time since the tick before: usually `wall` alone, nothing while the
            clock was set back, and all that was skipped when it was set forward.
    """

    instant: datetime
    wall: Wall
    due: tuple[Wall, ...]


def timeline(zone: str, start: datetime, end: datetime, tick: timedelta = timedelta(minutes=1)) -> list[Moment]:
    """Return what a clock in `zone` shows at every tick after `start` until `end`, both UTC."""
    tzinfo, moments = ZoneInfo(zone), []
    done_until = last = start.astimezone(tzinfo).replace(tzinfo=None, fold=0)
    instant = start + tick
    while instant <= end:
        shown = instant.astimezone(tzinfo).replace(tzinfo=None, fold=0)
        if abs(shown - last - tick) >= _CORRECTION:
            done_until = shown - tick
        due = []
        while done_until < shown:
            done_until += tick
            due.append(_wall(done_until))
        moments.append(Moment(instant, _wall(shown), tuple(due)))
        last = shown
        instant += tick
    return moments


def _wall(shown: datetime) -> Wall:
    return Wall(shown.second, shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)


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

    def match(self, wall: Wall) -> bool:
        second, minute, hour, day, month, weekday = wall
        if hour not in self.hours or minute not in self.minutes or second not in self.seconds:
            return False
        if month not in self.months:
            return False
        if self.any_star_day:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


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


def firings(expression: str, moments: list[Moment]) -> list[datetime]:
    """Return when the expression fires on a timeline."""
    rules = Rules(expression)
    if rules.wild:
        return [moment.instant for moment in moments if rules.match(moment.wall)]
    return [moment.instant for moment in moments if any(map(rules.match, moment.due))]


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
