"""Workflows: named graphs of steps, composed once, bound to a container and run."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, overload

import svcs
from typing_extensions import TypeVar

from daemon.errors import CodecError, CompositionError
from daemon.retry import Retry
from daemon.schedule.options import Schedule
from daemon.workflow.arguments import in_words
from daemon.workflow.bound import BoundSource, BoundWorkflow
from daemon.workflow.child import add_child
from daemon.workflow.compose import compose
from daemon.workflow.composer import composition
from daemon.workflow.definition import COMPENSATION_RETRY, StepOptions
from daemon.workflow.graph import Graph
from daemon.workflow.hook import HandlerDecorator, Hook, check_hook
from daemon.workflow.naming import registered
from daemon.workflow.ref import Ref
from daemon.workflow.signature import check_identity, check_time, parameters_of, where_called, where_defined

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """How a workflow's runs are started, bounded and kept; as the arguments of `workflow`."""

    timeout: timedelta | None
    retention: timedelta | None
    max_concurrency: int | None
    schedule: Schedule | None

    def __post_init__(self) -> None:
        where = where_called()
        check_time(self.timeout, "a workflow's timeout", where)
        check_time(self.retention, "a workflow's retention", where)
        most: object = self.max_concurrency
        if most is not None and (type(most) is not int or most < 1):
            raise CompositionError(
                f"{where}: a workflow's max_concurrency is a number of runs, 1 or more, not {most!r}; leave it out for "
                "no limit."
            )


class WorkflowBase:
    """A named graph of steps: what all kinds of workflows have in common.

    Attributes:
        graph: What was composed, frozen.
        fn: The composition.
        timeout: How long a run may take; None: as long as it does.
        retention: How long a run is kept after its end; None: as the configuration says.
        max_concurrency: How many runs may go on at the same time, in the whole fleet; None: any number.
        schedule: When it starts by itself; None: it does not.
        handlers: By the name of a hook, what runs there, in order.
        where: File and line of the composition.
    """

    def __init__(self, name: str, fn: Callable[..., Any], graph: Graph, options: WorkflowOptions) -> None:
        self.name = name
        self.fn = fn
        self.graph = graph
        self.timeout = options.timeout
        self.retention = options.retention
        self.max_concurrency = options.max_concurrency
        self.schedule = options.schedule
        self.handlers = graph.handlers
        self.where = where_defined(fn)
        self.__doc__ = fn.__doc__

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} defined at {self.where}>"

    def on(
        self,
        hook: Hook[T],
        /,
        *,
        retry: Retry | None = None,
        compensation_retry: Retry | None = None,
        timeout: timedelta | None = None,
        idempotent: bool = False,
    ) -> HandlerDecorator[T]:
        """Add a handler to a hook that this workflow calls: a function of (value), (value, ctx) or ().

        Any number of them run there as steps, in the order of their modules and lines. Each can have a
        `compensate`, as a step. The options are those of `step`.

        Raises:
            CompositionError: The workflow does not call this hook, the function is no handler or is one already, or an
                option is out of its range.
        """
        check_hook(self, hook)
        options = StepOptions(
            retry=Retry.never() if retry is None else retry,
            compensation_retry=COMPENSATION_RETRY if compensation_retry is None else compensation_retry,
            timeout=timeout,
            idempotent=idempotent,
            on_failure="rollback",
            external=False,
        )
        return HandlerDecorator(self, hook, options)

    def _check_call(self, container: object) -> None:
        if composition.get() is not None:
            raise CompositionError(
                f"{where_called()}: workflow {self.name!r} is called inside a composition, where nothing runs yet; to "
                "make it a step, write my_workflow.as_step(...)."
            )
        if container is not None and not isinstance(container, svcs.Container):
            msg = (
                f"{where_called()}: workflow {self.name!r} is called with a container, not with a "
                f"{type(container).__name__}: write my_workflow(ctx.container).run(...), with the input in run."
            )
            raise TypeError(msg)


class Workflow(WorkflowBase, Generic[In, Out]):
    """A workflow that takes an input."""

    def __call__(self, container: svcs.Container | None = None) -> "BoundWorkflow[In, Out]":
        """Return the workflow on the engine of `container`; without one, on an in-memory engine of its own."""
        self._check_call(container)
        return BoundWorkflow(self, container)

    def as_step(self, value: In | Ref[In], /, *, name: str | None = None) -> Ref[Out]:
        """Record this workflow as a step of the one that is being composed; it rolls back as a unit.

        Args:
            value: What the composition's ref stands for in the run of this workflow.
            name: The step's name; left out: the workflow's.

        Raises:
            CompositionError: No workflow is being composed here, or the name is used already.
        """
        return add_child(self, name, value)


class SourceWorkflow(WorkflowBase, Generic[Out]):
    """A workflow without an input."""

    def __call__(self, container: svcs.Container | None = None) -> "BoundSource[Out]":
        """Return the workflow on the engine of `container`; without one, on an in-memory engine of its own."""
        self._check_call(container)
        return BoundSource(self, container)

    def as_step(self, *, name: str | None = None) -> Ref[Out]:
        """Record this workflow as a step of the one that is being composed; as `Workflow.as_step`."""
        return add_child(self, name)


if not TYPE_CHECKING:  # which sees the signatures themselves
    Workflow.as_step = in_words(Workflow.as_step, "workflow {} takes one input: my_workflow.as_step(ref, name=...)")
    SourceWorkflow.as_step = in_words(
        SourceWorkflow.as_step, "workflow {} takes no input: my_workflow.as_step(name=...)"
    )


class WorkflowDecorator:
    """What `workflow(...)` returns."""

    def __init__(self, name: str, options: WorkflowOptions) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, fn: Callable[[], Ref[Out]]) -> SourceWorkflow[Out]: ...
    @overload
    def __call__(self, fn: Callable[[], None]) -> SourceWorkflow[None]: ...
    @overload
    def __call__(self, fn: Callable[[], object]) -> SourceWorkflow[Any]: ...
    @overload
    def __call__(self, fn: Callable[[Ref[In]], Ref[Out]]) -> Workflow[In, Out]: ...
    @overload
    def __call__(self, fn: Callable[[Ref[In]], None]) -> Workflow[In, None]: ...
    @overload
    def __call__(self, fn: Callable[[Ref[In]], object]) -> Workflow[In, Any]: ...
    def __call__(self, fn: Any) -> Any:
        parameters = _check_composition(fn, self._name)
        graph = compose(
            self._name, fn, takes_input=bool(parameters), parameter=parameters[0].name if parameters else ""
        )
        kind = Workflow if parameters else SourceWorkflow
        _check_scheduled_input(self._name, graph, self._options.schedule, where_defined(fn))
        return registered(kind(self._name, fn, graph, self._options))


def _check_composition(fn: Any, name: str) -> list[inspect.Parameter]:
    if not inspect.isfunction(fn):
        found = f"the class {fn.__name__}" if isinstance(fn, type) else f"a {type(fn).__name__}"
        raise CompositionError(f"{where_called()}: workflow {name!r} is made of a plain function, not of {found}.")
    where = where_defined(fn)
    if fn.__name__ == "<lambda>":
        raise CompositionError(f"{where}: workflow {name!r} is a lambda; define a function with a name.")
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise CompositionError(
            f"{where}: workflow {name!r} is composed by a plain function that is called once: write `def`, without "
            "await or yield; what waits belongs into steps."
        )
    parameters = parameters_of(fn, "workflow", most=1, shape="no parameter or one Ref")
    if parameters and parameters[0].name in ("self", "cls"):
        raise CompositionError(f"{where}: workflow {name!r} is a method; define it at module level.")
    return parameters


def _check_scheduled_input(name: str, graph: Graph, schedule: Schedule | None, where: str) -> None:
    """Raise `CompositionError` unless the schedule's `data` can be the workflow's input."""
    if schedule is None:
        return
    if graph.input is None:
        if schedule.data is not None:
            raise CompositionError(f"{where}: workflow {name!r} takes no input; leave data out of its Schedule.")
        return
    try:
        graph.input.hold(schedule.data, 1 << 62, "data")
    except CodecError as error:
        raise CompositionError(
            f"{where}: workflow {name!r} is started by its schedule, which has to have its input: "
            f"schedule=Schedule(..., data=...). {error}"
        ) from None


def workflow(
    name: str,
    *,
    timeout: timedelta | None = None,
    retention: timedelta | None = None,
    max_concurrency: int | None = None,
    schedule: str | timedelta | Schedule | None = None,
) -> WorkflowDecorator:
    """Compose a workflow: the function is called once, now, and what it does is recorded as a graph.

    Args:
        name: The workflow's identity in stored runs: kebab-case, unique in an application.
        timeout: How long a run may take before it is cancelled and rolled back; left out: as long as it does.
        retention: How long a run is kept after its end; left out: as `storage.retention_s` says.
        max_concurrency: How many of its runs may go on at the same time, in the whole fleet: the others wait; left out:
            any number.
        schedule: When it starts by itself: a cron expression, a timedelta, or `Schedule(...)` with the options of a
            job, whose `data` is the workflow's input and whose name is by default the workflow's; left out: it does
            not.

    Raises:
        CompositionError: The function does something that no run could do; names the ref, the file and line, and what
            to write instead. Or an option is out of its range.
        CronError: The schedule's expression is wrong, or can never fire.
    """
    check_identity("workflow", name)
    planned = schedule if schedule is None or isinstance(schedule, Schedule) else Schedule(schedule)
    return WorkflowDecorator(name, WorkflowOptions(timeout, retention, max_concurrency, planned))
