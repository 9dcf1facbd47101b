"""What an application writes: a job, which is a handler bound to a schedule."""

import hashlib
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Generic, Literal, get_args

import svcs
from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger
from typing_extensions import TypeVar

from daemon.clock import to_us
from daemon.errors import DefinitionError, did_you_mean
from daemon.events.model import Event
from daemon.retry import Retry
from daemon.schedule.cron import Cron, find_zone
from daemon.schedule.timetable import Interval, Timetable, require_aware

Overlap = Literal["skip", "queue", "allow"]
CatchUp = Literal["latest", "all", "none"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_MAX = 100
_ZERO = timedelta(0)
_TICK = timedelta(microseconds=1)


class JobContext:
    """What a job's handler gets.

    Attributes:
        container: The services of this firing.
        data: What the job was given as `data`.
        scheduled_for: The time that this firing was due, aware UTC, without jitter.
        attempt: The first is 1.
        options: The table `[options.<job name>]` of config.toml.
        log: A logger that knows the job and the firing.
        staged: The events emitted so far, in order; published when the handler returns.
    """

    __slots__ = ("attempt", "container", "data", "log", "options", "scheduled_for", "staged")

    def __init__(
        self,
        *,
        container: svcs.Container,
        data: Any,
        scheduled_for: datetime,
        attempt: int,
        options: dict[str, Any],
        log: FilteringBoundLogger,
        staged: list[Event],
    ) -> None:
        self.container = container
        self.data = data
        self.scheduled_for = scheduled_for
        self.attempt = attempt
        self.options = options
        self.log = log
        self.staged = staged

    def emit(self, event: Event) -> None:
        """Stage an event: it is published when the handler returns, and dropped when it raises."""
        self.staged.append(event)


@dataclass(frozen=True, slots=True)
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
        if self.max_runs is not None and self.max_runs < 1:
            raise DefinitionError(f"max_runs is 1 or more, not {self.max_runs}")
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
    def fingerprint(self) -> str:
        """A hash of everything above: what two deployments differ in when one has another schedule or option."""
        options = {option.name: getattr(self, option.name) for option in fields(self) if option.init}
        return hashlib.sha256(json.dumps(options, default=_plain, sort_keys=True).encode()).hexdigest()


Handler = Callable[[JobContext], Awaitable[object]] | Callable[[], Awaitable[object]]
H = TypeVar("H", bound=Handler, default=Any)


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[H]):
    """A handler bound to a schedule.

    Attributes:
        name: Its identity in the store and the configuration; kebab-case.
        schedule: When it fires, with its options.
        handler: The decorated function.
        takes_context: Whether the handler wants the context.
        file: Where it was defined.
        line: Where in that file, from 1.
    """

    name: str
    schedule: Schedule
    handler: H
    takes_context: bool
    file: str
    line: int

    async def run(self, ctx: JobContext) -> None:
        """Call the handler once, without retry and timeout."""
        handler: Any = self.handler
        await (handler(ctx) if self.takes_context else handler())

    def delay(self, scheduled_for: datetime) -> timedelta:
        """Return how long after its nominal time a firing starts: 0 to `jitter`, the same in every process."""
        digest = hashlib.sha256(f"{self.name}\x00{to_us(scheduled_for)}".encode()).digest()
        return self.schedule.jitter * (int.from_bytes(digest[:4]) / 2**32)


def job(
    schedule: str | timedelta,
    *,
    name: str | None = None,
    timezone: str = "UTC",
    data: Any = None,
    overlap: Overlap = "skip",
    catch_up: CatchUp = "latest",
    catch_up_window: timedelta = timedelta(days=1),
    jitter: timedelta = _ZERO,
    max_runs: int | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    retry: Retry = Retry.never(),  # noqa: B008 - a frozen value
    timeout: timedelta | None = None,
) -> Callable[[H], Job[H]]:
    """Make an `async def` function that takes the `JobContext`, or nothing, a job.

    The arguments are those of `Schedule`. The name is by default the function's, in kebab-case.

    Raises:
        DefinitionError: Something is wrong with the options or the function (`CronError` with the schedule or the
            zone); when decorating, with the job's name and place.
    """
    if callable(schedule):
        raise DefinitionError("@job needs a schedule: write @job('0 0 * * *') or @job(timedelta(hours=1))")

    def decorate(handler: H) -> Job[H]:
        function = inspect.unwrap(handler)
        if not inspect.isfunction(function):
            raise DefinitionError(f"@job decorates an async def function, not {handler!r}")
        code = function.__code__
        label = name or function.__name__.strip("_").replace("_", "-").lower()
        try:
            check_name(label)
            takes_context = _takes_context(handler)
            options = Schedule(
                schedule,
                name=label,
                timezone=timezone,
                data=data,
                overlap=overlap,
                catch_up=catch_up,
                catch_up_window=catch_up_window,
                jitter=jitter,
                max_runs=max_runs,
                starts_at=starts_at,
                ends_at=ends_at,
                retry=retry,
                timeout=timeout,
            )
        except DefinitionError as error:
            place = f"job {label!r} ({code.co_filename}:{code.co_firstlineno})"
            raise type(error)(f"{place}: {error}") from error
        return Job(label, options, handler, takes_context, code.co_filename, code.co_firstlineno)

    return decorate


def check_name(name: str) -> None:
    """Refuse a job's name that is not kebab-case.

    Raises:
        DefinitionError: It is not, or it is longer than 100 characters.
    """
    if len(name) > _NAME_MAX or not _NAME.fullmatch(name):
        kebab = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:_NAME_MAX]
        hint = f" Write {kebab!r}." if kebab else ""
        raise DefinitionError(f"a job's name is kebab-case of at most {_NAME_MAX} characters, not {name!r}.{hint}")


def _takes_context(handler: Handler) -> bool:
    if not inspect.iscoroutinefunction(handler):
        raise DefinitionError("its handler is not async; write async def")
    signature = inspect.signature(handler)
    for arguments in ((object(),), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise DefinitionError(f"its handler takes (ctx) or nothing, not {signature}")


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return value.model_dump()
        case set() | frozenset():
            return sorted(value, key=repr)
        case type():
            return f"{value.__module__}.{value.__qualname__}"
        case _ if is_dataclass(value):
            return {part.name: getattr(value, part.name) for part in fields(value)}
    return str(value)
