"""What an application writes: a job, which is a handler bound to a schedule."""

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, overload

import svcs
from structlog.typing import FilteringBoundLogger

from daemon.clock import to_us
from daemon.config.model import JobOverride
from daemon.errors import DefinitionError
from daemon.events.model import Event
from daemon.retry import Retry
from daemon.schedule.options import CatchUp, Schedule, check_name
from daemon.store.job_model import Overlap

P = ParamSpec("P")


class JobContext:
    """What a job's handler gets.

    Attributes:
        container: The services of this firing.
        data: What the job was given as `data`.
        scheduled_for: The time that this firing was due, aware UTC, without jitter.
        attempt: The first is 1.
        options: The table `[options.<job name>]` of config.toml.
        log: A logger that knows the job and the firing.
    """

    __slots__ = ("_emit", "attempt", "container", "data", "log", "options", "scheduled_for")

    def __init__(
        self,
        *,
        container: svcs.Container,
        data: Any,
        scheduled_for: datetime,
        attempt: int,
        options: Mapping[str, Any],
        log: FilteringBoundLogger,
        emit: Callable[[Event, bool], None],
    ) -> None:
        self.container = container
        self.data = data
        self.scheduled_for = scheduled_for
        self.attempt = attempt
        self.options = options
        self.log = log
        self._emit = emit

    def emit(self, event: Event, *, immediately: bool = False) -> None:
        """Stage an event: it is published when the handler returns, and dropped when it raises.

        Args:
            event: What happened.
            immediately: Publish it even if the handler fails afterwards.
        """
        self._emit(event, immediately)


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[P]):
    """A handler bound to a schedule. Called like the function that it was made of, it is that function.

    Attributes:
        name: Its identity in the store and the configuration; kebab-case.
        schedule: When it fires, with its options.
        handler: The decorated function.
        takes_context: Whether the handler wants the context.
        file: Where it was defined.
        line: Where in that file, from 1.
        workflow: The workflow that it starts, if it was made of that one's schedule.
    """

    name: str
    schedule: Schedule
    handler: Callable[P, Awaitable[object]]
    takes_context: bool
    file: str
    line: int
    workflow: str | None = None

    @property
    def where(self) -> str:
        """Its place, as `file:line`."""
        return f"{self.file}:{self.line}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[object]:
        """Call the bare function, for unit tests."""
        return self.handler(*args, **kwargs)

    async def run(self, ctx: JobContext) -> None:
        """Call the handler once, without retry and timeout."""
        handler: Any = self.handler
        await (handler(ctx) if self.takes_context else handler())

    def delay(self, scheduled_for: datetime) -> timedelta:
        """Return how long after its nominal time a firing starts: 0 to `jitter`, the same in every process."""
        digest = hashlib.sha256(f"{self.name}\x00{to_us(scheduled_for)}".encode()).digest()
        return self.schedule.jitter * (int.from_bytes(digest[:4]) / 2**32)


class JobDecorator:
    """Makes a job of a handler that takes the context, or nothing."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Any], Job[Any]]) -> None:
        self._make = make

    @overload
    def __call__(self, handler: Callable[[], Awaitable[object]], /) -> Job[[]]: ...
    @overload
    def __call__(self, handler: Callable[[JobContext], Awaitable[object]], /) -> Job[[JobContext]]: ...
    def __call__(self, handler: Any, /) -> Any:
        return self._make(handler)


def job(
    schedule: str | timedelta,
    *,
    name: str | None = None,
    timezone: str = "UTC",
    data: Any = None,
    overlap: Overlap = "skip",
    catch_up: CatchUp = "latest",
    catch_up_window: timedelta = timedelta(days=1),
    jitter: timedelta = timedelta(0),
    max_runs: int | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    retry: Retry = Retry.never(),  # noqa: B008 - a frozen value
    timeout: timedelta | None = None,
) -> JobDecorator:
    """Make an `async def` function that takes the `JobContext`, or nothing, a job.

    The arguments are those of `Schedule`. The name is by default the function's, in kebab-case.

    Raises:
        DefinitionError: Something is wrong with the options or the function (`CronError` with the schedule or the
            zone); when decorating, with the job's name and place.
    """

    def make(handler: Any) -> Job[Any]:
        function = inspect.unwrap(handler) if callable(handler) else handler
        if not inspect.isfunction(function):
            raise DefinitionError(f"@job decorates an async def function, not {handler!r}.")
        code = function.__code__
        label = function.__name__.strip("_").replace("_", "-").lower() if name is None else name
        try:
            options = Schedule(
                schedule,
                name=check_name(label),
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
            takes_context = _takes_context(handler)
        except DefinitionError as error:
            place = f"job {label!r} ({code.co_filename}:{code.co_firstlineno})"
            raise type(error)(f"{place}: {error}") from error
        return Job(label, options, handler, takes_context, code.co_filename, code.co_firstlineno)

    bare: object = schedule
    if inspect.isfunction(bare):
        raise DefinitionError(f"@job needs a schedule: write @job('0 0 * * *') above {bare.__name__}.")
    return JobDecorator(make)


def overridden(job: Job[P], override: JobOverride | None) -> Job[P] | None:
    """Return a job as `[jobs.<name>]` of config.toml changes it; None if that turns it off.

    Raises:
        CronError: The configured schedule is wrong, or can never fire in the job's zone.
    """
    if override is None:
        return job
    if not override.enabled:
        return None
    was = job.schedule
    schedule = override.schedule or (was.schedule if override.every_s is None else timedelta(seconds=override.every_s))
    options = replace(
        was,
        schedule=schedule,
        timezone=override.timezone or was.timezone,
        overlap=override.overlap or was.overlap,
        catch_up=override.catch_up or was.catch_up,
        catch_up_window=_seconds(override.catch_up_window_s, was.catch_up_window),
        jitter=_seconds(override.jitter_s, was.jitter),
        max_runs=override.max_runs or was.max_runs,
        retry=override.retry_over(was.retry),
        timeout=was.timeout if override.timeout_s is None else timedelta(seconds=override.timeout_s),
    )
    return replace(job, schedule=options)


def _seconds(configured: float | None, otherwise: timedelta) -> timedelta:
    return otherwise if configured is None else timedelta(seconds=configured)


def _takes_context(handler: Callable[..., object]) -> bool:
    if not inspect.iscoroutinefunction(handler):
        raise DefinitionError("its handler is not async: write async def.")
    signature = inspect.signature(handler)
    for arguments in ((object(),), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise DefinitionError(f"its handler takes (ctx) or nothing, not {signature}.")
