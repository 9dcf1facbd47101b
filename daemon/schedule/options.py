"""When a job fires, and what happens to firings that cannot be on time; pure."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal, get_args

from daemon.clock import to_us
from daemon.errors import DefinitionError, did_you_mean
from daemon.retry import Retry
from daemon.schedule.cron import Cron, find_zone
from daemon.schedule.timetable import Interval, Timetable, require_aware
from daemon.store.job_model import Overlap

CatchUp = Literal["latest", "all", "none"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_MAX = 100
_ZERO = timedelta(0)
_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_WITH_SECONDS = 6  # fields


@dataclass(frozen=True)
class Schedule:
    """When a job fires, or a workflow starts by itself, and what happens to firings that cannot be on time.

    Args:
        schedule: A cron expression, or a `timedelta`, whose multiples are counted since the epoch or `starts_at`.
        name: The job's name; by default the handler's or the workflow's.
        timezone: The zone whose clock a cron expression is about.
        data: What the handler gets as `ctx.data`.
        overlap: What a firing does while the one before goes on: `skip` it, `queue` up, or `allow` both.
        catch_up: Which missed firings are made up for: the `latest`, `all`, `none`.
        catch_up_window: How far back a missed firing is still made up for.
        jitter: Spread over this time; a firing's delay is the same on every daemon, and its nominal time stays.
        max_runs: After so many firings the job is over; None never.
        starts_at: The first time that may fire; aware.
        ends_at: The last time that may fire; aware.
        retry: What happens when the handler raises.
        timeout: The handler is cancelled after this time; None never.

    Raises:
        DefinitionError: One of them is out of its range; a `CronError` for the expression and the zone.
    """

    schedule: str | timedelta
    _: KW_ONLY
    name: str | None = None
    timezone: str = "UTC"
    data: Any = None
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    catch_up_window: timedelta = timedelta(days=1)
    jitter: timedelta = _ZERO
    max_runs: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    retry: Retry = field(default_factory=Retry.never)
    timeout: timedelta | None = None
    timetable: Timetable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.name)
        for option, choices in (("overlap", get_args(Overlap)), ("catch_up", get_args(CatchUp))):
            if (chosen := getattr(self, option)) not in choices:
                hint = did_you_mean(str(chosen), choices)
                raise DefinitionError(f"{option} is one of {', '.join(choices)}, not {chosen!r}.{hint}")
        self._check_times()
        if self.max_runs is not None and (not isinstance(self.max_runs, int) or self.max_runs < 1):
            raise DefinitionError(f"max_runs is 1 or more, or None for no limit, not {self.max_runs!r}")
        if not isinstance(self.retry, Retry):
            raise DefinitionError(f"retry is a Retry, not {self.retry!r}: write retry=Retry(max_attempts=3)")
        object.__setattr__(self, "timetable", self._make_timetable())

    def _check_times(self) -> None:
        for option, value in (("catch_up_window", self.catch_up_window), ("jitter", self.jitter)):
            if not isinstance(value, timedelta) or value < _ZERO:
                raise DefinitionError(f"{option} is a timedelta of zero or more, not {value!r}")
        if self.timeout is not None and (not isinstance(self.timeout, timedelta) or self.timeout <= _ZERO):
            raise DefinitionError(f"timeout is a timedelta above zero, or None for no limit, not {self.timeout!r}")
        for option, moment in (("starts_at", self.starts_at), ("ends_at", self.ends_at)):
            if moment is not None:
                require_aware(option, moment)
        if self.starts_at is not None and self.ends_at is not None and self.ends_at < self.starts_at:
            raise DefinitionError(f"ends_at ({self.ends_at}) is before starts_at ({self.starts_at})")

    def _make_timetable(self) -> Timetable:
        if isinstance(self.schedule, str):
            return Cron(self.schedule, self.timezone)
        if not isinstance(self.schedule, timedelta):
            raise DefinitionError(f"a schedule is a cron expression or a timedelta, not {self.schedule!r}")
        find_zone(self.timezone)
        return Interval(self.schedule, self.starts_at)

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """Iterate the firing times strictly after an aware datetime, from `starts_at` to `ends_at` where they are set.

        Both are included. `max_runs` is not looked at: who counts firings knows.

        Raises:
            ValueError: `after` is naive.
        """
        if self.starts_at is not None and after.tzinfo is not None:
            after = max(after, self.starts_at - _TICK)
        firings, ends_at = self.timetable.upcoming(after), self.ends_at
        return firings if ends_at is None else takewhile(lambda firing: firing <= ends_at, firings)

    @property
    def least_gap(self) -> timedelta:
        """What no two firing times are closer than."""
        if isinstance(self.schedule, timedelta):
            return self.schedule
        return _SECOND if len(self.schedule.split()) == _WITH_SECONDS else _MINUTE

    @cached_property
    def times(self) -> str:
        """A hash of what says when it fires."""
        return _hash(
            self.schedule if isinstance(self.schedule, str) else f"{self.schedule // _TICK}",
            self.timezone if isinstance(self.schedule, str) else "",
            self.starts_at and to_us(self.starts_at),
            self.ends_at and to_us(self.ends_at),
        )

    @cached_property
    def timing(self) -> str:
        """A hash of all that two processes must not have differently if both are to fire it."""
        return _hash(self.times, self.jitter // _TICK, self.overlap, self.max_runs)


def check_name(name: str) -> str:
    """Return a job's name if it is kebab-case.

    Raises:
        DefinitionError: It is not, or it is longer than 100 characters.
    """
    if len(name) > _NAME_MAX or not _NAME.fullmatch(name):
        kebab = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:_NAME_MAX]
        hint = f" Write {kebab!r}." if kebab else ""
        raise DefinitionError(f"a job's name is kebab-case of at most {_NAME_MAX} characters, not {name!r}.{hint}")
    return name


def _hash(*parts: object) -> str:
    return hashlib.blake2s("\x00".join(map(str, parts)).encode(), digest_size=16).hexdigest()
