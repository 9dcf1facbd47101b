"""Workflows: named graphs of steps, composed once, bound to a container and run."""

import gc
import inspect
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import svcs
from typing_extensions import TypeVar

from daemon.errors import CompositionError, DefinitionError
from daemon.workflow.compose import compose
from daemon.workflow.graph import Graph
from daemon.workflow.port import Engine, RunOptions
from daemon.workflow.ref import Ref
from daemon.workflow.run import WorkflowRun
from daemon.workflow.signature import check_identity, parameters_of, where_called, where_defined

if TYPE_CHECKING:
    from daemon.schedule.options import Schedule
    from daemon.workflow.definition import BoundStep

In = TypeVar("In")
Out = TypeVar("Out")
_RUN_ID = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
_defined: "weakref.WeakValueDictionary[str, WorkflowBase]" = weakref.WeakValueDictionary()


def check_run_id(run_id: str) -> str:
    """Return `run_id` if it is 1 to 200 of `[A-Za-z0-9._:@-]`.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(run_id, str) or _RUN_ID.fullmatch(run_id) is None:
        msg = f"A run id is 1 to 200 of the characters A-Z a-z 0-9 . _ : @ -, not {str(run_id)[:80]!r}."
        raise ValueError(msg)
    return run_id


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

    def __init__(self, name: str, fn: Callable[..., Any], graph: Graph, timeout: timedelta | None) -> None:
        self.name = name
        self.fn = fn
        self.graph = graph
        self.timeout = timeout
        self.retention: timedelta | None = None
        self.max_concurrency: int | None = None
        self.schedule: Schedule | None = None
        self.handlers: dict[str, list[BoundStep]] = {}
        self.where = where_defined(fn)
        self.__doc__ = fn.__doc__

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} defined at {self.where}>"


class Workflow(WorkflowBase, Generic[In, Out]):
    """A workflow that takes an input."""

    def __call__(self, container: svcs.Container | None = None) -> "BoundWorkflow[In, Out]":
        """Return the workflow on the engine of `container`; without one, on an in-memory engine of its own."""
        return BoundWorkflow(self, container)


class SourceWorkflow(WorkflowBase, Generic[Out]):
    """A workflow without an input."""

    def __call__(self, container: svcs.Container | None = None) -> "BoundSource[Out]":
        """Return the workflow on the engine of `container`; without one, on an in-memory engine of its own."""
        return BoundSource(self, container)


class BoundWorkflow(Generic[In, Out]):
    """A workflow and the container that it runs with."""

    def __init__(self, workflow: Workflow[In, Out], container: svcs.Container | None) -> None:
        self._workflow = workflow
        self._container = container

    async def run(
        self,
        input: In,
        *,
        run_id: str | None = None,
        raise_on_error: bool = True,
        wait: bool | None = None,
        on_existing: Literal["join", "reject"] = "join",
    ) -> WorkflowRun[Out]:
        """Run the workflow, and return when the run ends or is parked.

        Args:
            input: What the composition's ref stands for in this run.
            run_id: One id is one run; left out: derived from the trigger inside a handler, else a fresh one.
            raise_on_error: Raise `WorkflowFailed` for a run that ended without a result; else return it.
            wait: True waits for the end, also of a parked run; False only for the durable start.
            on_existing: "join" a run of this id, or "reject" it with `RunExists`.

        Raises:
            WorkflowFailed: The run ended without a result; its `.run` has the errors.
            RunExists: The id belongs to another workflow or another input, or is rejected.
            CodecError: The input does not fit its declared type.
            ValueError: `run_id` is none.
        """
        options = _options(run_id, wait, on_existing)
        return await _run(self._workflow, self._container, input, options, raise_on_error=raise_on_error)


class BoundSource(Generic[Out]):
    """A workflow without an input, and the container that it runs with."""

    def __init__(self, workflow: SourceWorkflow[Out], container: svcs.Container | None) -> None:
        self._workflow = workflow
        self._container = container

    async def run(
        self,
        *,
        run_id: str | None = None,
        raise_on_error: bool = True,
        wait: bool | None = None,
        on_existing: Literal["join", "reject"] = "join",
    ) -> WorkflowRun[Out]:
        """Run the workflow, and return when the run ends or is parked; as `BoundWorkflow.run`, without an input."""
        options = _options(run_id, wait, on_existing)
        return await _run(self._workflow, self._container, None, options, raise_on_error=raise_on_error)


def _options(run_id: str | None, wait: bool | None, on_existing: Literal["join", "reject"]) -> RunOptions:  # noqa: FBT001 - as `run` got it
    if on_existing not in ("join", "reject"):
        msg = f'on_existing is "join" or "reject", not {on_existing!r}.'
        raise ValueError(msg)
    return RunOptions(check_run_id(run_id) if run_id is not None else None, wait, on_existing)


async def _run(
    workflow: WorkflowBase, container: svcs.Container | None, value: Any, options: RunOptions, *, raise_on_error: bool
) -> WorkflowRun[Any]:
    if container is None:
        from daemon.engine.memory import run_alone  # noqa: PLC0415 - only a run without a container needs an engine here

        run = await run_alone(workflow, value, options)
    else:
        engine = await container.aget_abstract(Engine)
        run = await engine.execute(workflow, value, options)
    if raise_on_error and run.status.ended and run.status != "completed":
        raise run.failure()
    return run


class WorkflowDecorator:
    """What `workflow(...)` returns."""

    def __init__(self, name: str, timeout: timedelta | None) -> None:
        self._name = name
        self._timeout = timeout

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
        return _registered(kind(self._name, fn, graph, self._timeout))


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
    try:
        parameters = parameters_of(fn, "workflow", most=1, shape="no parameter or one Ref")
    except DefinitionError as error:
        raise CompositionError(str(error)) from None
    if parameters and parameters[0].name in ("self", "cls"):
        raise CompositionError(f"{where}: workflow {name!r} is a method; define it at module level.")
    return parameters


def _registered(workflow: WorkflowBase) -> WorkflowBase:
    """Keep the workflow in the weak table of names. Raises `CompositionError` for a name with another living graph."""
    if _conflicts(workflow):
        gc.collect()  # a former definition may be garbage that nobody collected yet
    if _conflicts(workflow):
        first = _defined[workflow.name].where
        raise CompositionError(
            f"Workflow {workflow.name!r} is defined twice with different graphs: at {first} and at {workflow.where}. "
            "Give one of them another name."
        )
    _defined[workflow.name] = workflow
    return workflow


@contextmanager
def names_apart() -> Iterator[None]:
    """Have the workflows that are defined inside the block be another application's; afterwards it is as before."""
    before = dict(_defined)
    _defined.clear()
    try:
        yield
    finally:
        _defined.clear()
        _defined.update(before)


def _conflicts(workflow: WorkflowBase) -> bool:
    other = _defined.get(workflow.name)
    return other is not None and other.graph.describe() != workflow.graph.describe()


def workflow(name: str, *, timeout: timedelta | None = None) -> WorkflowDecorator:
    """Compose a workflow: the function is called once, now, and what it does is recorded as a graph.

    Args:
        name: The workflow's identity in stored runs: kebab-case, unique in an application.
        timeout: How long a run may take before it is cancelled and rolled back; left out: as long as it does.

    Raises:
        CompositionError: The function does something that no run could do; names the ref, the file and line, and what
            to write instead.
    """
    if timeout is not None and timeout <= timedelta(0):
        raise DefinitionError(f"A workflow's timeout is above zero, not {timeout}; leave it out for none.")
    return WorkflowDecorator(check_identity("workflow", name), timeout)
