"""When a cron expression fires, in a time zone and through its clock changes; pure."""

from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from daemon.errors import CronError, did_you_mean
from daemon.schedule.expression import Expression, parse

_SECOND = timedelta(seconds=1)
_CORRECTION = timedelta(hours=3)  # Debian's limit: a smaller change of the clock is daylight saving, this is not
_EVERY_WEEK = sum(1 << 7 * week for week in range(6))  # times a mask of weekdays: that mask, week after week
_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_RULES_ONLY = datetime(2100, 1, 1)  # noqa: DTZ001 - UTC; by then a zone has no listed changes left, only yearly rules


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone.

    The dialect is that of Debian's cron: five fields (minute, hour, day of month, month, day of week), an optional
    sixth in front for the second; names, ranges, steps, lists; `@daily` and friends; 0 and 7 are Sunday. When both day
    fields are restricted (neither starts with `*`), a day that matches either will do; else it has to match both.

    A clock change of less than three hours is daylight saving. A job of fixed times fires once, right after the gap,
    when some of its times are skipped, and in the first pass only of a time that comes twice. A job whose minute or
    hour field starts with `*` follows the clock: nothing in the gap, and both passes. A greater change is a
    correction, after which the new time counts: every job follows the clock.

    Algorithm: an expression is a handful of bit masks, one of the 1,440 minutes of a day and one of the days of a
    month, worked out from its first weekday. The lowest bit above the current one is the next minute or day, so that
    a search costs a few shifts, and one step for every month that is looked at (29 February: eight at most). This is
    done on the wall clock, as if it never changed. Only then the zone is asked, about that one time: PEP 495's two
    folds have the same offset (the usual case), grow (the time is skipped) or shrink (it comes twice). The instant of
    the change is bisected, once a change.

    Args:
        expression: Such as `0 0 * * *`.
        timezone: The zone whose clock it is about, by its IANA name.

    Raises:
        CronError: The expression is wrong or can never fire, or the zone is unknown.
    """

    expression: str
    timezone: str = "UTC"
    _fields: Expression = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _months: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = parse(self.expression)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_zone", find_zone(self.timezone))
        object.__setattr__(self, "_months", _following_months(fields.months))
        if not fields.fixed and self._next(_RULES_ONLY) is None:
            raise CronError(
                f"{self.expression!r} can never fire in {self.timezone}: clock changes skip every time that it names"
            )

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """Iterate the firing times strictly after an aware datetime, as aware UTC datetimes, without end.

        Raises:
            ValueError: `after` is naive.
        """
        if after.tzinfo is None:
            raise ValueError(f"upcoming takes an aware datetime, not {after}; add tzinfo=UTC.")
        return self._iterate(after.astimezone(UTC).replace(tzinfo=None, microsecond=0))

    def warnings(self, after: datetime) -> list[str]:
        """Return what is legal and probably not meant, a sentence each.

        These are two restricted day fields, and times that a day does not have because of a clock change in the year
        that follows `after`.
        """
        found = []
        if self._fields.either_day:
            found.append(
                f"{self.expression!r} restricts both day of month and day of week: "
                "it fires on days that match either, not only on those that match both"
            )
        if not self._fields.every_hour:
            found += self._skipped(after.astimezone(UTC).replace(tzinfo=None, microsecond=0))
        return found

    def _skipped(self, start: datetime) -> Iterator[str]:
        for day in range(366):
            before = self._offset_at(start + timedelta(days=day))
            after = self._offset_at(start + timedelta(days=day + 1))
            if before < after:
                change = self._change(start + timedelta(days=day), start + timedelta(days=day + 1), before)
                missing, gap_end = self._first(change + before), change + after
                if missing is not None and missing < gap_end:
                    yield (
                        f"{self.expression!r}: {self.timezone} has no {missing:%H:%M} on {missing:%Y-%m-%d}, "
                        + ("it does not fire then" if self._follows(after - before) else f"it fires at {gap_end:%H:%M}")
                    )

    def _iterate(self, after: datetime) -> Iterator[datetime]:
        found = self._next(after)
        while found is not None:
            yield found.replace(tzinfo=UTC)
            found = self._next(found)

    def _next(self, after: datetime) -> datetime | None:
        """Return the first firing after `after`, both UTC without tzinfo and in whole seconds; None: in no year."""
        local = self._zone.fromutc(after.replace(tzinfo=self._zone))
        wall = local.replace(tzinfo=None, fold=0)
        found = self._first(wall + _SECOND)
        if not local.fold:
            first, second = self._offsets(wall)
            if first > second and self._follows(first - second):
                # In the first of two passes: after it the clock goes back, and not on to what was found.
                change = self._change(wall - first, wall - second, first)
                if found is None or found >= change + first:
                    found = self._first(change + second)
        while found is not None:
            first, second = self._offsets(found)
            if first == second:
                return found - first
            if first < second:  # is skipped
                change = self._change(found - second, found - first, first)
                if not self._follows(second - first):
                    return change
                found = self._first(change + second)
            elif found - first > after:  # comes twice, and this is the first time
                return found - first
            elif self._follows(first - second):
                return found - second
            else:  # has fired in the first pass: on to where the second ends
                found = self._first(self._change(found - first, found - second, first) + first)
        return None

    def _first(self, wall: datetime) -> datetime | None:
        """Return the first matching time at or after `wall`, on a clock that never changes; None: after year 9998."""
        fields, year, month = self._fields, wall.year, wall.month
        days = self._days(year, month) >> wall.day
        if days & 1:
            minute = 60 * wall.hour + wall.minute
            minutes = fields.minutes >> minute
            seconds = fields.seconds >> wall.second
            if minutes & 1 and seconds:
                return wall + _lowest(seconds) * _SECOND
            minutes &= -2  # not this minute
            if minutes:
                return self._at(year, month, wall.day, minute + _lowest(minutes))
        days &= -2  # not today
        day = wall.day
        while not days:
            years, month = self._months[month]
            year += years
            if year >= MAXYEAR:
                return None
            days, day = self._days(year, month), 0
        return self._at(year, month, day + _lowest(days), _lowest(fields.minutes))

    def _at(self, year: int, month: int, day: int, minute: int) -> datetime:
        return datetime(year, month, day, minute // 60, minute % 60, _lowest(self._fields.seconds))  # noqa: DTZ001 - wall

    def _days(self, year: int, month: int) -> int:
        """Return the days of a month that match, as a mask: bit n is day n."""
        fields = self._fields
        if not fields.months >> month & 1:
            return 0
        before_first = date(year, month, 1).weekday()  # Monday is 0: the last day of the month before, with Sunday 0
        weekdays = fields.weekdays * _EVERY_WEEK >> before_first
        days = fields.days | weekdays if fields.either_day else fields.days & weekdays
        length = 29 if month == 2 and isleap(year) else _DAYS[month]  # noqa: PLR2004 - February
        return days & (2 << length) - 2

    def _follows(self, shift: timedelta) -> bool:
        """Tell whether the job follows the clock through a change by `shift`."""
        return not self._fields.fixed or shift >= _CORRECTION

    def _offsets(self, wall: datetime) -> tuple[timedelta, timedelta]:
        """Return the zone's offsets at both folds of a wall-clock time: before and after a change nearby, if any."""
        offset = self._zone.utcoffset
        return offset(wall), offset(wall.replace(fold=1))  # type: ignore[return-value]  # a zone knows every offset

    def _offset_at(self, instant: datetime) -> timedelta:
        return self._zone.fromutc(instant.replace(tzinfo=self._zone)).replace(tzinfo=None) - instant

    def _change(self, before: datetime, at_latest: datetime, offset: timedelta) -> datetime:
        """Return the first instant after `before` whose offset is another than `offset`, to the second."""
        while at_latest - before > _SECOND:
            middle = before + (at_latest - before) // _SECOND // 2 * _SECOND
            if self._offset_at(middle) == offset:
                before = middle
            else:
                at_latest = middle
        return at_latest


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


@cache
def _following_months(months: int) -> tuple[tuple[int, int], ...]:
    """Return for each month, by its number, how many years further the next named month is, and which it is."""
    ring = [(year, month) for year in (0, 1) for month in range(1, 13) if months >> month & 1]
    return ((0, 0), *(next(at for at in ring if at > (0, month)) for month in range(1, 13)))


def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        CronError: It is not known; with a did-you-mean.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found; not a name; a folder of names
        known = available_timezones()
        city = [zone for zone in known if zone.lower().endswith(f"/{name.lower()}")]
        hint = f" Did you mean {min(city)!r}?" if city else did_you_mean(name, known)
        raise CronError(
            f"timezone: {name!r} is not known.{hint or ' Write an IANA name, such as Europe/Berlin.'}"
        ) from None
