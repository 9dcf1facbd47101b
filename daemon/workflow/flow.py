"""A graph as boxes and arrows: what every kind of drawing is made of; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from daemon.events.model import Event
from daemon.workflow.definition import BoundStep, SkipTo
from daemon.workflow.graph import Graph
from daemon.workflow.nodes import (
    ChildNode,
    EmitNode,
    HookNode,
    LoopNode,
    Member,
    Node,
    OtherwiseNode,
    ParallelNode,
    SleepNode,
    StepNode,
    TransformNode,
    WaitNode,
    WhenNode,
    walk,
)
from daemon.workflow.operand import Constant, Operand, Slot


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """One box of a drawing.

    Attributes:
        kind: `end`, `step`, `loop`, `child`, `transform`, `when`, `sleep`, `wait`, `emit` or `hook`.
        undo: Name of what compensates it.
    """

    id: str
    label: str
    kind: str
    undo: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """A condition and its two cases.

    Attributes:
        below: What runs if the answer is yes.
        beside: What runs if it is no; empty: that case passes the other one by.
    """

    box: Box
    below: "Column" = field(default_factory=list)
    beside: "Column" = field(default_factory=list)


Column = list[Sequence[Box] | Fork]
"""What runs one after the other: rows of boxes that run at the same time, and conditions."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrow:
    """What comes after what, and in which case.

    Attributes:
        skips: It is where a run goes on after a failure.
    """

    start: Box
    end: Box
    label: str
    skips: bool = False


class _Shown(NamedTuple):
    """What a box shows."""

    label: str
    kind: str
    undo: str | None = None


_Loose = Sequence[tuple[Box, str]]  # boxes that wait for what comes next, each with the case in which it does
_KINDS = {
    StepNode: "step",
    LoopNode: "loop",
    ChildNode: "child",
    TransformNode: "transform",
    WhenNode: "when",
    SleepNode: "sleep",
    WaitNode: "wait",
    EmitNode: "emit",
    HookNode: "hook",
}
_Drawable = Member | TransformNode | WhenNode | SleepNode | WaitNode | EmitNode | HookNode


@dataclass(slots=True)
class Flow:
    """A graph's boxes and its arrows.

    Attributes:
        handlers: By the name of a hook: what runs there.
        column: How the boxes stand to each other.
    """

    handlers: Mapping[str, Sequence[BoundStep]] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    column: Column = field(default_factory=list)
    _first: dict[str, Box] = field(default_factory=dict)  # by the name of a node: where it begins
    _skips: list[tuple[Box, str]] = field(default_factory=list)

    def draw(self, nodes: Sequence[Node], loose: _Loose, column: Column) -> _Loose:
        """Draw nodes below what is loose, and return what is loose then."""
        fork: Fork | None = None  # the condition just drawn
        for node in nodes:
            drawn = len(self.boxes)
            if isinstance(node, OtherwiseNode):
                if fork is None:  # something stands between the two cases
                    fork = self._fork(_Shown(f"not {node.condition}", "when"), loose, column)
                    loose = [*self.draw(node.nodes, [(fork.box, "yes")], fork.below), (fork.box, "no")]
                else:
                    loose = [*loose[:-1], *self.draw(node.nodes, loose[-1:], fork.beside)]
                fork = None
            elif isinstance(node, WhenNode):
                fork = self._fork(_shown(node), loose, column)
                loose = [*self.draw(node.nodes, [(fork.box, "yes")], fork.below), (fork.box, "no")]
            else:
                fork = None
                loose = self._row_of(node.members if isinstance(node, ParallelNode) else (node,), loose, column)
            if drawn < len(self.boxes):
                self._first[node.name] = self.boxes[drawn]
        return loose

    def row(self, row: Sequence[_Shown], loose: _Loose, column: Column, id: str = "") -> list[Box]:
        """Draw a row of boxes below what is loose."""
        boxes = [self._box(shown, loose, id) for shown in row]
        column.append(boxes)
        return boxes

    def skip(self) -> None:
        """Draw where a run goes on after the failure of a step that skips."""
        for box, target in self._skips:
            if target in self._first:
                self.arrows.append(Arrow(box, self._first[target], "failed", skips=True))

    def _fork(self, shown: _Shown, loose: _Loose, column: Column) -> Fork:
        fork = Fork(self._box(shown, loose))
        column.append(fork)
        return fork

    def _box(self, shown: _Shown, loose: _Loose, id: str = "") -> Box:
        box = Box(id or f"n{len(self.boxes)}", *shown)
        self.boxes.append(box)
        self.arrows += [Arrow(before, box, case) for before, case in loose]
        return box

    def _row_of(self, nodes: Sequence[_Drawable], loose: _Loose, column: Column) -> _Loose:
        boxes = self.row([_shown(node) for node in nodes], loose, column)
        loose = [(box, "") for box in boxes]
        for node, box in zip(nodes, boxes, strict=True):
            self._first[node.name] = box
            if isinstance(node, (StepNode, LoopNode)) and isinstance(node.step.settings.on_failure, SkipTo):
                self._skips.append((box, node.step.settings.on_failure.step))
            if isinstance(node, HookNode):
                for handler in self.handlers.get(node.name, ()):
                    function = handler.definition.fn.__name__
                    shown = _Shown(function, "step", _undo(handler))
                    loose = [(each, "") for each in self.row([shown], loose, column)]
        return loose


def _shown(node: _Drawable) -> _Shown:
    label, kind, undo = node.name, _KINDS[type(node)], None
    match node:
        case StepNode():
            label, undo = f"{label}{_remarks(node.step)}", _undo(node.step)
        case LoopNode():
            label, undo = f"{label} for each{_remarks(node.step)}", _undo(node.step)
        case ChildNode():
            of = "" if label == node.workflow.name else f" of {node.workflow.name}"
            label, undo = f"workflow {label}{of}", "its steps" if _can_be_undone(node) else None
        case SleepNode(delay=timedelta() as delay):
            label = f"{label}: {_length(delay)}"
        case WaitNode():
            within = "" if node.timeout is None else f", at most {_length(node.timeout)}"
            label = f"{label}: {node.event.__event_name__}{within}"
        case EmitNode():
            label = f"{label}: {_event_name(node.operand)}"
        case HookNode():
            label = f"hook {label}"
    return _Shown(label, kind, undo)


def _undo(step: BoundStep) -> str | None:
    compensation = step.definition.compensation
    return None if compensation is None else compensation.fn.__name__


def _remarks(step: BoundStep) -> str:
    return (", external" if step.settings.external else "") + (
        ", or goes on without" if step.settings.on_failure == "continue" else ""
    )


def _can_be_undone(child: ChildNode) -> bool:
    graph = child.workflow.graph
    handlers = [each for node in walk(graph.nodes) for each in graph.handlers.get(node.name, ())]
    steps = [*(node.step for node in graph.steps()), *handlers]
    return any(step.definition.compensation is not None for step in steps) or any(map(_can_be_undone, graph.children()))


def _event_name(event: Operand) -> str:
    type_ = event.codec.type if isinstance(event, Constant) else event.type if isinstance(event, Slot) else None
    named = isinstance(type_, type) and issubclass(type_, Event) and type_.__event_name__
    return named or "an event"


def flow_of(graph: Graph) -> Flow:
    """Return a graph as boxes and arrows, between its name and its end."""
    flow = Flow(graph.handlers)
    (start,) = flow.row([_Shown(graph.workflow, "end")], [], flow.column, "start")
    loose = flow.draw(graph.nodes, [(start, "")], flow.column)
    flow.row([_Shown("end", "end")], loose, flow.column, "done")
    flow.skip()
    return flow


def _length(time: timedelta) -> str:
    """Return a time as a reader writes it: `2 days`, not `2 days, 0:00:00`."""
    return str(time).removesuffix(", 0:00:00")
