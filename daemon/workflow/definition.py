"""What a step is, whatever takes it: its function, its signature, its options."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, Self

from typing_extensions import TypeVar

from daemon.errors import LEFT_OUT, CompositionError
from daemon.retry import Retry
from daemon.workflow.codec import Codec
from daemon.workflow.context import StepContext
from daemon.workflow.fitting import check_fits
from daemon.workflow.functions import function_name
from daemon.workflow.signature import (
    accepts_none,
    check_identity,
    check_time,
    codec_for,
    function_parameters,
    hints_of,
    where_called,
    where_defined,
)

Undo = TypeVar("Undo", default=Any)
COMPENSATION_RETRY = Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=2)

Compensation = (
    Callable[[Undo], Awaitable[None] | None]
    | Callable[[Undo, StepContext], Awaitable[None] | None]
    | Callable[[], Awaitable[None] | None]
)


@dataclass(frozen=True, slots=True)
class SkipTo:
    """What `on_failure` may be: go on with a later step, and skip everything before that.

    Args:
        step: Its name; it is in the same block or in one around it.
    """

    step: str


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is tried, bounded and given up; as the arguments of `step`."""

    retry: Retry
    compensation_retry: Retry
    timeout: timedelta | None
    idempotent: bool
    on_failure: Literal["rollback", "continue"] | SkipTo
    external: bool

    def __post_init__(self) -> None:
        where = where_called()
        for name in ("retry", "compensation_retry"):
            if not isinstance(getattr(self, name), Retry):
                given = getattr(self, name)
                raise CompositionError(f"{where}: {name} is a Retry, not {given!r}: write Retry(max_attempts=...).")
        for name in ("idempotent", "external"):
            if not isinstance(getattr(self, name), bool):
                raise CompositionError(f"{where}: {name} is True or False, not {getattr(self, name)!r}.")
        check_time(self.timeout, "a step's timeout", where)
        if self.on_failure not in ("rollback", "continue") and not isinstance(self.on_failure, SkipTo):
            raise CompositionError(
                f'{where}: on_failure is "rollback", "continue" or SkipTo("step"), not {self.on_failure!r}.'
            )
        if isinstance(self.on_failure, SkipTo):
            check_identity("step", self.on_failure.step)

    def describe(self) -> dict[str, object]:
        """Return what identifies the options in a graph."""
        on_failure = f"skip to {self.on_failure.step}" if isinstance(self.on_failure, SkipTo) else self.on_failure
        timeout_s = self.timeout.total_seconds() if self.timeout else None
        return {
            "retry": _described(self.retry),
            "compensation_retry": _described(self.compensation_retry),
            "timeout_s": timeout_s,
            "idempotent": self.idempotent,
            "on_failure": on_failure,
            "external": self.external,
        }


def _described(retry: Retry) -> list[object]:
    never_on = sorted(f"{kind.__module__}:{kind.__qualname__}" for kind in retry.never_on)
    delays_s = [retry.delay.total_seconds(), retry.max_delay.total_seconds()]
    return [retry.max_attempts, *delays_s, retry.backoff, retry.jitter, never_on]


@dataclass(frozen=True, slots=True, eq=False)
class CompensationFunction:
    """A step's compensation, and what it takes.

    Attributes:
        arity: How many of (data, ctx) the function takes.
        accepts_none: Whether a failed step that left no data is undone, too.
        partial: Codec of what a step gives that failed permanently, for its own compensation alone.
    """

    fn: Callable[..., Any]
    arity: int
    accepts_none: bool
    is_async: bool
    partial: Codec


@dataclass(slots=True, eq=False)
class StepDefinition:
    """A decorated function and what its signature says; shared by all uses of the step.

    Attributes:
        arity: How many of (input, ctx) the function takes.
        needs_task: Whether the function may wait in the event loop, or ask for the task that it runs in.
        undo: Codec of what the compensation gets.
    """

    fn: Callable[..., Any]
    arity: int
    is_async: bool
    needs_task: bool
    input: Codec
    output: Codec
    undo: Codec
    where: str
    compensation: CompensationFunction | None = None


class BoundStep:
    """A step with its name and options: what all kinds of steps have in common."""

    __slots__ = ("definition", "name", "settings")

    def __init__(self, definition: StepDefinition, name: str, options: StepOptions) -> None:
        self.definition = definition
        self.name = name
        self.settings = options

    def __repr__(self) -> str:
        return f"<step {self.name!r} defined at {self.definition.where}>"

    def describe(self) -> dict[str, object]:
        """Return what identifies the step in a graph."""
        compensation = self.definition.compensation
        return {
            "function": function_name(self.definition.fn),
            "compensation": compensation and function_name(compensation.fn),
            "options": self.settings.describe(),
        }

    def named(self, name: str) -> Self:
        """Return this step under another name, for a second use in one workflow."""
        return type(self)(self.definition, check_identity("step", name), self.settings)

    def options(
        self,
        *,
        retry: Retry | None = None,
        compensation_retry: Retry | None = None,
        timeout: timedelta | None = LEFT_OUT,
        idempotent: bool | None = None,
        on_failure: Literal["rollback", "continue"] | SkipTo | None = None,
        external: bool | None = None,
    ) -> Self:
        """Return this step with other options for one use; what is left out stays as it is."""
        given = {
            "retry": retry,
            "compensation_retry": compensation_retry,
            "idempotent": idempotent,
            "on_failure": on_failure,
            "external": external,
        }
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if timeout is not LEFT_OUT:
            changes["timeout"] = timeout
        return type(self)(self.definition, self.name, replace(self.settings, **changes))

    def compensate(self, fn: Compensation[Any]) -> Compensation[Any]:
        """Make `fn` this step's compensation; it takes (data), (data, ctx) or ()."""
        definition = self.definition
        if definition.compensation is not None:
            first = where_defined(definition.compensation.fn)
            raise CompositionError(f"{where_defined(fn)}: step {self.name!r} has a compensation already, at {first}.")
        parameters = function_parameters(fn, "compensation", "(data), (data, ctx) or ()")
        type_ = hints_of(fn).get(parameters[0].name, Any) if parameters else Any
        check_fits(
            definition.undo.type,
            type_,
            subject=f"what step {self.name!r} gives its compensation",
            what=f"the parameter of {fn.__name__}",
            where=where_defined(fn),
            instead="Have the step return StepResponse(output, compensate_input=...) of that type",
        )
        definition.compensation = CompensationFunction(
            fn,
            len(parameters),
            accepts_none(type_),
            inspect.iscoroutinefunction(fn),
            definition.undo if type_ in (Any, object) else codec_for(type_, fn, "the parameter"),
        )
        return fn
