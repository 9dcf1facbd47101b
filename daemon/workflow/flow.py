"""A graph as boxes and arrows: what every kind of drawing is made of; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.workflow.graph import Graph
from daemon.workflow.nodes import (
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
)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """One box of a drawing.

    Attributes:
        kind: `end`, `step`, `loop`, `transform` or `when`.
        undo: Name of what compensates it.
        row: 0 is the first; boxes of one row run at the same time.
    """

    id: str
    label: str
    kind: str
    undo: str | None
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Arrow:
    """What comes after what, and in which case."""

    start: Box
    end: Box
    label: str


_Loose = Sequence[tuple[Box, str]]  # boxes that wait for what comes next, each with the case in which it does


@dataclass(slots=True)
class Flow:
    """A graph's boxes, row by row, and its arrows."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    _rows: int = 0

    def draw(self, nodes: Sequence[Node], loose: _Loose) -> _Loose:
        """Draw nodes below what is loose, and return what is loose then."""
        other: list[tuple[Box, str]] = []  # of the condition just drawn: where its other case begins
        for node in nodes:
            if not isinstance(node, OtherwiseNode):
                loose, other = [*loose, *other], []
            if isinstance(node, WhenNode):
                (box,) = self.row([_box(node)], loose)
                loose, other = self.draw(node.nodes, [(box, "yes")]), [(box, "no")]
            elif isinstance(node, OtherwiseNode):
                if not other:  # something stands between the two cases
                    (box,) = self.row([(f"not {node.condition}", "when", None)], loose)
                    loose, other = [(box, "no")], [(box, "yes")]
                loose, other = [*loose, *self.draw(node.nodes, other)], []
            else:
                members = node.members if isinstance(node, ParallelNode) else (node,)
                loose = [(box, "") for box in self.row([_box(member) for member in members], loose)]
        return [*loose, *other]

    def row(self, row: Sequence[tuple[str, str, str | None]], loose: _Loose, id: str = "") -> list[Box]:
        """Draw a row of boxes (label, kind, what undoes it) below what is loose."""
        boxes = []
        for label, kind, undo in row:
            box = Box(id or f"n{len(self.boxes)}", label, kind, undo, self._rows)
            self.boxes.append(box)
            self.arrows += [Arrow(before, box, case) for before, case in loose]
            boxes.append(box)
        self._rows += 1
        return boxes


def _box(
    node: Member | TransformNode | WhenNode | SleepNode | WaitNode | EmitNode | HookNode,
) -> tuple[str, str, str | None]:
    if isinstance(node, (StepNode, LoopNode)):
        compensation = node.step.definition.compensation
        label, kind = (node.name, "step") if isinstance(node, StepNode) else (f"{node.name} for each", "loop")
        return label, kind, None if compensation is None else compensation.fn.__name__
    return node.name, "when" if isinstance(node, WhenNode) else "transform", None


def flow_of(graph: Graph) -> Flow:
    """Return a graph as boxes and arrows, between its name and its end."""
    flow = Flow()
    (start,) = flow.row([(graph.workflow, "end", None)], [], "start")
    loose = flow.draw(graph.nodes, [(start, "")])
    flow.row([("end", "end", None)], loose, "done")
    return flow
