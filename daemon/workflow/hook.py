"""Hooks: places in a workflow where an application's own handlers run."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, get_args, overload

from typing_extensions import TypeVar

from daemon.errors import CodecError, CompositionError, did_you_mean
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.composer import composing
from daemon.workflow.context import StepContext
from daemon.workflow.definition import BoundStep, StepOptions, Undo
from daemon.workflow.fitting import check_fits
from daemon.workflow.functions import function_name
from daemon.workflow.nodes import HookNode, walk
from daemon.workflow.operand import Constant, Slot
from daemon.workflow.ref import Ref
from daemon.workflow.signature import check_identity, where_called, where_defined
from daemon.workflow.step import SourceStep, Step, StepResponse, define

if TYPE_CHECKING:
    from daemon.workflow.workflow import WorkflowBase

T = TypeVar("T")
Out = TypeVar("Out")


class Hook(Generic[T]):
    """A place in workflows where handlers run: `order_validated = Hook[Order]("order-validated")`.

    A composition calls it, `order_validated(order)`; an application adds handlers with `@place_order.on(...)`.

    Args:
        name: Its identity in stored runs: kebab-case, unique in a workflow.

    Raises:
        CompositionError: The name is none.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise CompositionError(f'A hook is made of its name: write Hook[Order]("order-validated"), not {name!r}.')
        self.name = check_identity("hook", name)

    def __repr__(self) -> str:
        return f"<hook {self.name!r}>"

    def codec(self) -> Codec:
        """Return the codec of what handlers get. Raises `CodecError` if its type has no JSON form."""
        arguments = get_args(getattr(self, "__orig_class__", None))
        return Codec(arguments[0]) if arguments and not isinstance(arguments[0], TypeVar) else ANY

    def __call__(self, value: T | Ref[T], /) -> None:
        """Record that the hook's handlers run here, one after the other, each with this value.

        Raises:
            CompositionError: Outside a composition, or a second time in one.
        """
        composer = composing(f"hook {self.name!r}", "what runs there is added with @the_workflow.on(the_hook)")
        where = where_called()
        composer.claim(self.name, where, f"{where}: a hook is called once in a workflow; make another Hook(...)")
        try:
            codec = self.codec()
        except CodecError as error:
            raise CompositionError(f"{where}: the type of {self!r}: {error}") from None
        operand = composer.take(value, codec, f"the value of {self!r}", where)
        composer.block.nodes.append(HookNode(self.name, operand, where))


class HandlerDecorator(Generic[T]):
    """What `the_workflow.on(hook)` returns; the overloads are those of `@step`, with the hook's type as the input."""

    def __init__(self, workflow: "WorkflowBase", hook: Hook[T], options: StepOptions) -> None:
        self._workflow = workflow
        self._hook = hook
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
    def __call__(self, fn: Callable[[T], Awaitable[StepResponse[Out, Undo]]]) -> Step[T, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[T], Awaitable[Out]]) -> Step[T, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[T], StepResponse[Out, Undo]]) -> Step[T, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[T], Out]) -> Step[T, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[T, StepContext], Awaitable[StepResponse[Out, Undo]]]) -> Step[T, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[T, StepContext], Awaitable[Out]]) -> Step[T, Out, Out]: ...
    @overload
    def __call__(self, fn: Callable[[T, StepContext], StepResponse[Out, Undo]]) -> Step[T, Out, Undo]: ...
    @overload
    def __call__(self, fn: Callable[[T, StepContext], Out]) -> Step[T, Out, Out]: ...
    def __call__(self, fn: Any) -> Any:
        definition = define(fn, "handler", "(value), (value, ctx) or ()")
        name = f"{self._hook.name}[{function_name(fn).replace(':', '.')}]"
        handlers = self._workflow.handlers.setdefault(self._hook.name, [])
        for other in handlers:
            if other.name == name:
                raise CompositionError(
                    f"{where_defined(fn)}: {fn.__qualname__} handles {self._hook!r} of workflow "
                    f"{self._workflow.name!r} already, as defined at {other.definition.where}. Give another function "
                    "another name."
                )
        codec = self._hook.codec()
        check_fits(
            codec.type,
            definition.input.type,
            subject=f"what {self._hook!r} gives",
            what=f"the parameter of {fn.__name__}",
            where=definition.where,
            instead="Take what it gives",
        )
        if definition.input is ANY:
            definition.input = codec
        kind = Step if definition.arity else SourceStep
        handler: BoundStep = kind(definition, name, self._options)
        handlers.append(handler)
        handlers.sort(key=_place)
        return handler


def _place(handler: BoundStep) -> tuple[str, int]:
    fn = inspect.unwrap(handler.definition.fn)
    code = getattr(fn, "__code__", None)  # a built-in function has none
    return fn.__module__ or "", code.co_firstlineno if code is not None else 0


def check_hook(workflow: "WorkflowBase", hook: object) -> None:
    """Raise `CompositionError` unless the workflow calls this hook."""
    where = where_called()
    if not isinstance(hook, Hook):
        raise CompositionError(
            f"{where}: on takes a hook, not {hook!r}: @my_workflow.on(order_validated), where order_validated is "
            'Hook[Order]("order-validated").'
        )
    called = {node.name: node.operand for node in walk(workflow.graph.nodes) if isinstance(node, HookNode)}
    operand = called.get(hook.name)
    if operand is None:
        known = f"It calls {', '.join(called)}.{did_you_mean(hook.name, called)}" if called else "It calls no hook."
        raise CompositionError(
            f"{where}: workflow {workflow.name!r} never calls {hook!r}, so no handler would run. Call it in the "
            f"composition: my_hook(ref). {known}"
        )
    given = operand.type if isinstance(operand, Slot) else operand.codec.type if isinstance(operand, Constant) else Any
    check_fits(
        given,
        hook.codec().type,
        subject=f"what workflow {workflow.name!r} calls {hook!r} with",
        what="that of the hook given here",
        where=where,
        instead="Name the hook that it calls",
    )
