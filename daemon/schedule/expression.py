"""The text of a cron expression, as Debian's cron reads it, made into bit masks; pure."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, NoReturn

from daemon.errors import CronError, did_you_mean

_MAX_CHARACTERS = 1_000
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST_MONTH = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_IN_THE_HANDLER = {
    "#": "name the days it can be, such as 8-14 in day of month, and check the weekday in the handler",
    "L": "write 28-31 in day of month, and check in the handler that tomorrow is another month",
    "W": "write mon-fri in day of week, and check the day in the handler",
    "LW": "write 28-31 in day of month, and check the day in the handler",
}
_FOREIGN = re.compile(r"(?:\d*|sun|mon|tue|wed|thu|fri|sat)(LW|L|W)", re.IGNORECASE)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # of low, low + 1, ...


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A cron expression as bit masks: bit n stands for the value n.

    Attributes:
        seconds: Of a minute; bit 0 alone when the expression has five fields.
        minutes: Of a day, 0 to 1439: the minute and the hour field in one.
        days: Of a month, 1 to 31.
        months: 1 to 12.
        weekdays: 0 (Sunday) to 6.
        either_day: Both day fields are restricted, so that either may match; else both have to.
        fixed: Neither the minute nor the hour field starts with `*`: the job has times of its own, where one that
            has not follows the clock.
        every_hour: No hour is left out.
    """

    seconds: int
    minutes: int
    days: int
    months: int
    weekdays: int
    either_day: bool
    fixed: bool
    every_hour: bool


def parse(text: str) -> Expression:
    """Read a cron expression.

    Raises:
        CronError: It is not one, or names only days that no month has.
    """
    if len(text) > _MAX_CHARACTERS:
        raise CronError(f"a cron expression has at most {_MAX_CHARACTERS:,} characters, not {len(text):,}")
    parts = (_nickname(text.strip()) if text.strip().startswith("@") else text).split()
    if len(parts) == len(_FIELDS) - 1:
        parts.insert(0, "0")
    if len(parts) != len(_FIELDS):
        raise CronError(
            f"{text!r} has {len(parts)} fields; write five (minute, hour, day of month, month, day of week), "
            "or six with the second in front"
        )
    seconds, minutes, hours, days, months, weekdays = (
        _mask(part, field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    _, minute, hour, day, _, weekday = parts
    either_day = not day.startswith("*") and not weekday.startswith("*")
    if not either_day:
        _refuse_days_that_no_month_has(day, days, months)
    return Expression(
        seconds=seconds,
        minutes=sum(minutes << 60 * value for value in range(24) if hours >> value & 1),
        days=days,
        months=months,
        weekdays=(weekdays | weekdays >> 7) & 0b1111111,  # 7 is Sunday too
        either_day=either_day,
        fixed=not minute.startswith("*") and not hour.startswith("*"),
        every_hour=hours == (1 << 24) - 1,
    )


def _nickname(text: str) -> str:
    if text == "@reboot":
        raise CronError(
            "@reboot names no time: daemons start at different times, and again after every upgrade; "
            "run it before the daemon (ExecStartPre= in its systemd unit), or at a time, such as @hourly"
        )
    if text not in _NICKNAMES:
        hint = did_you_mean(text.lower(), _NICKNAMES) or f" Known are {', '.join(_NICKNAMES)}."
        raise CronError(f"{text} is not known; for an interval give a timedelta.{hint}")
    return _NICKNAMES[text]


@lru_cache(maxsize=4_096)
def _mask(text: str, field: _Field) -> int:
    mask = 0
    for item in text.split(","):
        if not item:
            raise CronError(f"{field.name}: {text!r} has an empty item")
        if "#" in item:
            _refuse_foreign(item, "#", field)
        for value in _values(item, field):
            mask |= 1 << value
    return mask


def _values(item: str, field: _Field) -> range:
    body, slash, step_text = item.partition("/")
    step = int(step_text) if _is_number(step_text) else 0
    if slash and not step:
        raise CronError(f"{field.name}: the step of {item!r} is not a whole number above 0")
    step = step or 1
    first_text, dash, last_text = body.partition("-")
    if body == "*":
        return range(field.low, field.high + 1, step)
    if dash and not (first_text and last_text):
        raise CronError(f"{field.name}: the range {item!r} has two ends; write {field.low}-{field.high}, for example")
    first = _value(first_text, field)
    if not dash:
        if slash:
            raise CronError(f"{field.name}: {item} has no end; write {body}-{field.high}/{step_text}")
        return range(first, first + 1)
    last = _value(last_text, field)
    if first > last:
        _refuse_wrap(item, first, last, step, field)
    return range(first, last + 1, step)


def _value(text: str, field: _Field) -> int:
    if _is_number(text):
        if not field.low <= int(text) <= field.high:
            raise CronError(f"{field.name}: {int(text)} is not between {field.low} and {field.high}")
        return int(text)
    name = text.lower()
    if name in field.names:
        return field.low + field.names.index(name)
    if foreign := _FOREIGN.fullmatch(text):
        _refuse_foreign(text, foreign[1].upper(), field)
    if text == "?":
        raise CronError(f"{field.name}: ? is not cron's; write *")
    hint = f" Did you mean {name[:3]!r}?" if name[:3] in field.names else did_you_mean(name, field.names)
    names = f" or one of {', '.join(field.names)}" if field.names else ""
    raise CronError(f"{field.name}: {text!r} is not a number between {field.low} and {field.high}{names}.{hint}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _refuse_foreign(item: str, sign: str, field: _Field) -> NoReturn:
    raise CronError(f"{field.name}: {item} is not cron's ({sign} is of other schedulers); {_IN_THE_HANDLER[sign]}")


def _refuse_wrap(item: str, first: int, last: int, step: int, field: _Field) -> NoReturn:
    top = 6 if field.names is _WEEKDAYS else field.high
    size = top - field.low + 1

    def show(value: int) -> str:
        return field.names[value - field.low] if field.names and item[0].isalpha() else str(value)

    if step > 1:
        values = (field.low + (value - field.low) % size for value in range(first, last + size + 1, step))
        instead = ",".join(show(value) for value in values)
    else:
        spans = ((first, top), (field.low, last))
        instead = ",".join(show(a) if a == b else f"{show(a)}-{show(b)}" for a, b in spans)
    raise CronError(f"{field.name}: {item} wraps around; write {instead}")


def _refuse_days_that_no_month_has(text: str, days: int, months: int) -> None:
    named = [month for month in range(1, 13) if months >> month & 1]
    if not any(days & (1 << _LONGEST_MONTH[month] + 1) - 1 for month in named):
        names = ", ".join(_MONTHS[month - 1] for month in named)
        raise CronError(f"day of month: {text} does not come in {names}, so it can never fire")
