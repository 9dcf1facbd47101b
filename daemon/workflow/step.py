"""Steps: named functions that are executed, retried, checkpointed and compensated."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, get_args, get_origin, overload

from typing_extensions import TypeVar

from daemon.errors import LEFT_OUT, CompositionError
from daemon.workflow.adapters import type_name
from daemon.workflow.arguments import in_words
from daemon.workflow.codec import ANY
from daemon.workflow.composer import composing
from daemon.workflow.context import StepContext
from daemon.workflow.definition import BoundStep, Compensation, StepDefinition, Undo
from daemon.workflow.functions import needs_task
from daemon.workflow.ref import Ref
from daemon.workflow.signature import bare, codec_for, function_parameters, hints_of, where_defined

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
R = TypeVar("R")
_INSTEAD = "to run its bare function, write await the_step.run({})"


class StepResponse(Generic[Out, Undo]):
    """What a step returns if its compensation gets something else than its output.

    Args:
        output: What following steps get.
        compensate_input: What the step's compensation gets; left out: the output.
    """

    __slots__ = ("compensate_input", "has_compensate_input", "is_pending", "output", "skipped")

    @overload
    def __init__(self: "StepResponse[T, T]", output: T) -> None: ...
    @overload
    def __init__(self: "StepResponse[T, R]", output: T, compensate_input: R) -> None: ...
    def __init__(self, output: Any, compensate_input: Any = LEFT_OUT) -> None:
        self.output = output
        self.has_compensate_input = compensate_input is not LEFT_OUT
        self.compensate_input = compensate_input if self.has_compensate_input else output
        self.skipped = False
        self.is_pending = False

    @classmethod
    def skip(cls) -> "StepResponse[Any, Any]":
        """Return the response of a step that had nothing to do: output None, and it is never compensated."""
        response: StepResponse[Any, Any] = StepResponse(None)
        response.skipped = True
        return response

    @classmethod
    def pending(cls, *, compensate_input: Any = LEFT_OUT) -> "StepResponse[Any, Any]":
        """Return the response of an external step: its output is what is reported later, whatever it returns now.

        Args:
            compensate_input: What the step's compensation gets; left out: the output that is reported.
        """
        response: StepResponse[Any, Any] = StepResponse(None, compensate_input)
        response.has_compensate_input = compensate_input is not LEFT_OUT
        response.compensate_input = compensate_input if response.has_compensate_input else None
        response.is_pending = True
        return response


class Step(BoundStep, Generic[In, Out, Undo]):
    """A step that takes an input."""

    __slots__ = ()

    def __call__(self, value: In | Ref[In], /) -> Ref[Out]:
        """Record a use of this step in the workflow that is being composed.

        Raises:
            CompositionError: No workflow is being composed here, or the step's name is used already.
        """
        return composing(f"step {self.name!r}", _INSTEAD.format("value, ctx")).add_step(self, value)

    async def run(self, value: In, ctx: StepContext | None = None) -> Out | StepResponse[Out, Undo]:
        """Run the bare function, for unit tests."""
        found: Out | StepResponse[Out, Undo] = await call_bare(self.definition, value, ctx)
        return found

    def compensate(self, fn: Compensation[Undo]) -> Compensation[Undo]:
        """Make `fn` this step's compensation; it takes (data), (data, ctx) or ()."""
        return super().compensate(fn)


class SourceStep(BoundStep, Generic[Out, Undo]):
    """A step without an input."""

    __slots__ = ()

    def __call__(self) -> Ref[Out]:
        """Record a use of this step in the workflow that is being composed. Raises as `Step.__call__`."""
        return composing(f"step {self.name!r}", _INSTEAD.format("")).add_step(self)

    async def run(self) -> Out | StepResponse[Out, Undo]:
        """Run the bare function, for unit tests."""
        found: Out | StepResponse[Out, Undo] = await call_bare(self.definition, None, None)
        return found

    def compensate(self, fn: Compensation[Undo]) -> Compensation[Undo]:
        """Make `fn` this step's compensation; it takes (data), (data, ctx) or ()."""
        return super().compensate(fn)


if not TYPE_CHECKING:  # which sees the signatures themselves
    Step.__call__ = in_words(Step.__call__, "step {} takes one input, a value or a ref: my_step(ref)")
    SourceStep.__call__ = in_words(SourceStep.__call__, "step {} takes no input: my_step()")


async def call_bare(definition: StepDefinition, value: Any, ctx: StepContext | None) -> Any:
    """Call a step's function with as many of (value, ctx) as it takes."""
    if definition.arity == 2 and ctx is None:  # noqa: PLR2004 - (input, ctx)
        raise CompositionError(f"{definition.fn.__name__} takes a context: call .run(value, ctx) with a StepContext.")
    found = definition.fn(*(value, ctx)[: definition.arity])
    return await found if inspect.isawaitable(found) else found


def define(fn: Callable[..., Any], kind: str = "step", shape: str = "(), (input) or (input, ctx)") -> StepDefinition:
    """Read the signature of a step's function, or of another `kind` of function that is run as one.

    Raises:
        CompositionError: It is none, or one of its types cannot be resolved, is a ref, or has no JSON form.
    """
    parameters = function_parameters(fn, kind, shape)
    hints = hints_of(fn)
    for type_ in hints.values():
        if get_origin(type_) is Ref or type_ is Ref:
            shown = ", ".join(map(type_name, get_args(type_))) or "Any"
            raise CompositionError(
                f"{where_defined(fn)}: {fn.__name__} is annotated with {type_name(type_)}, and a {kind} is called in a "
                f"run, where values are: write {shown}."
            )
    returns = hints.get("return", Any)
    if get_origin(returns) in (Awaitable, Coroutine):  # of a plain function: what it returns is awaited
        returns = get_args(returns)[-1]
    response = bare(returns)
    if response is StepResponse or get_origin(response) is StepResponse:
        output, undo = (*get_args(response), Any, Any)[:2]
    elif any(each is StepResponse or get_origin(each) is StepResponse for each in get_args(response)):
        raise CompositionError(
            f"{where_defined(fn)}: {fn.__name__} returns a StepResponse or something else. Always return one: "
            "StepResponse(output), or StepResponse.skip() if there was nothing to do."
        )
    else:
        output = undo = returns
    return StepDefinition(
        fn=fn,
        arity=len(parameters),
        is_async=inspect.iscoroutinefunction(fn),
        needs_task=needs_task(fn),
        input=codec_for(hints.get(parameters[0].name, Any), fn, "the input") if parameters else ANY,
        output=codec_for(output, fn, "the output"),
        undo=codec_for(undo, fn, "the compensation's input"),
        where=where_defined(fn),
    )
