"""The decorator `@step`, with the types that it gives back."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal, overload

from daemon.retry import Retry
from daemon.workflow.context import StepContext
from daemon.workflow.definition import COMPENSATION_RETRY, SkipTo, StepOptions, Undo
from daemon.workflow.signature import check_identity
from daemon.workflow.step import In, Out, SourceStep, Step, StepResponse, define


class StepDecorator:
    """What `step(...)` returns; the overloads' order matters: async before plain, StepResponse before the output."""

    def __init__(self, name: str, options: StepOptions) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, fn: Callable[[], Awaitable[StepResponse[Out, Undo]]]) -> SourceStep[Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[], Awaitable[Out]]) -> SourceStep[Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[], StepResponse[Out, Undo]]) -> SourceStep[Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[], Out]) -> SourceStep[Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In], Awaitable[StepResponse[Out, Undo]]]) -> Step[In, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[In], Awaitable[Out]]) -> Step[In, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In], StepResponse[Out, Undo]]) -> Step[In, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[In], Out]) -> Step[In, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In, StepContext], Awaitable[StepResponse[Out, Undo]]]) -> Step[In, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[In, StepContext], Awaitable[Out]]) -> Step[In, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In, StepContext], StepResponse[Out, Undo]]) -> Step[In, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[In, StepContext], Out]) -> Step[In, Out, Out]: ...
    def __call__(self, fn: Any) -> Any:
        definition = define(fn)
        kind = Step if definition.arity else SourceStep
        return kind(definition, self._name, self._options)


def step(
    name: str,
    *,
    retry: Retry | None = None,
    compensation_retry: Retry | None = None,
    timeout: timedelta | None = None,
    idempotent: bool = False,
    on_failure: Literal["rollback", "continue"] | SkipTo = "rollback",
    external: bool = False,
) -> StepDecorator:
    """Make a function a step: `async def`, or `def`, which then runs in a worker thread.

    Args:
        name: The step's identity in stored runs: kebab-case, unique in a workflow.
        retry: How often to try; left out: once.
        compensation_retry: How often to try its compensation; left out: 5 times, after 1, 2, 4 and 8 seconds.
        timeout: How long one attempt may take; it is cancelled then, and counts as failed (a plain `def` cannot be
            cancelled: it is left behind in its thread).
        idempotent: Running the step again is harmless; saves a durable write.
        on_failure: What a final failure means to the run: roll back, go on with None, or skip to a later step.
        external: The step does its work and then waits: its output is reported later.

    Raises:
        CompositionError: The name is not kebab-case, or an option is out of its range.
    """
    options = StepOptions(
        retry=Retry.never() if retry is None else retry,
        compensation_retry=COMPENSATION_RETRY if compensation_retry is None else compensation_retry,
        timeout=timeout,
        idempotent=idempotent,
        on_failure=on_failure,
        external=external,
    )
    return StepDecorator(check_identity("step", name), options)
