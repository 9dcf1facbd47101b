"""The nodes of a graph: what a composition records one by one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon.events.model import Event, name_of
from daemon.workflow.definition import BoundStep
from daemon.workflow.functions import function_name
from daemon.workflow.operand import Operand

if TYPE_CHECKING:
    from daemon.workflow.workflow import WorkflowBase


@dataclass(frozen=True, slots=True, eq=False)
class StepNode:
    """One use of a step.

    Attributes:
        slot: Where a run puts its output.
        argument: What it gets; None if it takes nothing.
        step: The step with the options of this use.
        where: File and line of the call.
    """

    name: str
    slot: int
    argument: Operand | None
    step: BoundStep
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return () if self.argument is None else (self.argument,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described("step", self.name, self.operands, **self.step.describe())


@dataclass(frozen=True, slots=True, eq=False)
class TransformNode:
    """A pure function of resolved values."""

    name: str
    slot: int
    operands: tuple[Operand, ...]
    fn: Callable[..., Any]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described("transform", self.name, self.operands, function=function_name(self.fn))


@dataclass(frozen=True, slots=True, eq=False)
class LoopNode:
    """One call of a step for each item of a list.

    Attributes:
        name: The step's; the calls have it with their index: `step[0]`.
        slot: Where a run puts the list of the outputs.
        items_slot: Where a run puts the list of the items.
        items: That list.
        concurrency: How many calls may run at the same time.
    """

    name: str
    slot: int
    items_slot: int
    items: Operand
    step: BoundStep
    concurrency: int
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return (self.items,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described("for_each", self.name, self.operands, **self.step.describe(), concurrency=self.concurrency)


@dataclass(frozen=True, slots=True, eq=False)
class ChildNode:
    """Another workflow as a step.

    Attributes:
        slot: Where a run puts its result.
        argument: What it gets; None if it takes nothing.
        workflow: What runs, as a run of its own.
        where: File and line of the call.
    """

    name: str
    slot: int
    argument: Operand | None
    workflow: "WorkflowBase"
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return () if self.argument is None else (self.argument,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described(
            "child", self.name, self.operands, workflow=self.workflow.name, graph=self.workflow.graph.shape
        )


@dataclass(frozen=True, slots=True, eq=False)
class SleepNode:
    """A durable timer: for a time, or until a moment.

    Attributes:
        delay: How long, from when the run gets here; None if it is until a moment.
        until: That moment; None if it is for a time.
    """

    name: str
    delay: timedelta | None
    until: Operand | None
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return () if self.until is None else (self.until,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        if self.delay is None:
            return _described("sleep_until", self.name, self.operands)
        return _described("sleep", self.name, self.operands, delay_s=self.delay.total_seconds())


@dataclass(frozen=True, slots=True, eq=False)
class WaitNode:
    """Waits for the first event that matches.

    Attributes:
        slot: Where a run puts the event.
        key: What `match` of the event has to be equal to.
        match: The part of an event that is compared.
        timeout: How long to wait, from when the run gets here; None: as long as it takes.
    """

    name: str
    slot: int
    event: type[Event]
    key: Operand
    match: Callable[[Any], Any]
    timeout: timedelta | None
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return (self.key,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        timeout_s = None if self.timeout is None else self.timeout.total_seconds()
        options = {"event": name_of(self.event), "timeout_s": timeout_s}
        return _described("wait_for_event", self.name, self.operands, **options, function=function_name(self.match))


@dataclass(frozen=True, slots=True, eq=False)
class EmitNode:
    """Stages an event in the run.

    Attributes:
        operand: The event.
        immediately: It is published soon, whatever becomes of the run.
    """

    name: str
    operand: Operand
    immediately: bool
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return (self.operand,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described("emit", self.name, self.operands, immediately=self.immediately)


@dataclass(frozen=True, slots=True, eq=False)
class HookNode:
    """A place where an application's handlers run; they are the workflow's, not the graph's.

    Attributes:
        operand: What every handler gets.
    """

    name: str
    operand: Operand
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return (self.operand,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described("hook", self.name, self.operands)


# What may be in a parallel group.
Member = StepNode | LoopNode | ChildNode


@dataclass(frozen=True, slots=True, eq=False)
class ParallelNode:
    """Steps that run, and are undone, at the same time."""

    name: str
    members: tuple[Member, ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return {"kind": "parallel", "name": self.name, "members": [member.describe() for member in self.members]}


@dataclass(frozen=True, slots=True, eq=False)
class WhenNode:
    """What runs only if a predicate holds.

    Attributes:
        slot: Where a run puts the decision.
        operands: The one value that the predicate gets.
    """

    name: str
    slot: int
    operands: tuple[Operand, ...]
    fn: Callable[..., Any]
    nodes: tuple["Node", ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return _described(
            "when",
            self.name,
            self.operands,
            function=function_name(self.fn),
            nodes=[node.describe() for node in self.nodes],
        )


@dataclass(frozen=True, slots=True, eq=False)
class OtherwiseNode:
    """What runs only if the predicate of an earlier condition does not hold.

    Attributes:
        slot: Where a run has put that decision.
        condition: Name of the condition.
    """

    name: str
    slot: int
    condition: str
    nodes: tuple["Node", ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        nodes = [node.describe() for node in self.nodes]
        return {"kind": "otherwise", "name": self.name, "of": self.condition, "nodes": nodes}


Node = Member | TransformNode | ParallelNode | WhenNode | OtherwiseNode | SleepNode | WaitNode | EmitNode | HookNode


def walk(nodes: Iterable[Node]) -> Iterator[Node]:
    """Iterate over nodes and all that is inside them, in the order in which they were recorded."""
    for node in nodes:
        yield node
        if isinstance(node, ParallelNode):
            yield from node.members
        elif isinstance(node, (WhenNode, OtherwiseNode)):
            yield from walk(node.nodes)


def _described(kind: str, name: str, operands: Iterable[Operand], **rest: object) -> dict[str, object]:
    return {"kind": kind, "name": name, "inputs": [operand.describe() for operand in operands], **rest}
