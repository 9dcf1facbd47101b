"""Draws a workflow's graph as Graphviz DOT and as SVG; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from daemon.workflow.graph import Graph, ParallelNode, StepNode, TransformNode

_CHARACTER_PX = 7.5  # of a 12 px monospaced font
_BOX_PX = 34
_GAP_PX = 30
_STYLE = (
    "text{font:12px monospace;text-anchor:middle;dominant-baseline:central}"
    "rect,path{fill:#fff;stroke:#334;stroke-width:1.2}.undo{stroke-dasharray:4 3;stroke:#a40}.line{fill:none}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    """One box of a drawing; those of a row run at the same time, and one row after the other."""

    id: str
    label: str
    kind: str
    undo: str | None


def _rows(graph: Graph) -> list[list[_Box]]:
    numbers = iter(range(1, graph.slots + len(graph.nodes) + 1))
    rows = [[_Box("start", graph.workflow, "end", None)]]
    for node in graph.nodes:
        members = node.members if isinstance(node, ParallelNode) else (node,)
        rows.append([_box(member, f"n{next(numbers)}") for member in members])
    return [*rows, [_Box("done", "end", "end", None)]]


def _box(node: StepNode | TransformNode, id: str) -> _Box:
    compensation = node.step.definition.compensation if isinstance(node, StepNode) else None
    return _Box(
        id,
        node.name,
        "step" if isinstance(node, StepNode) else "transform",
        None if compensation is None else compensation.fn.__name__,
    )


def to_dot(graph: Graph) -> str:
    """Return the graph as Graphviz DOT, to be laid out by `dot`."""
    shapes = {"step": "box", "transform": "parallelogram", "end": "oval"}
    rows = _rows(graph)
    lines = [f"digraph {_quoted(graph.workflow)} {{", "    node [fontname=monospace];"]
    for box in (box for row in rows for box in row):
        lines.append(f"    {box.id} [label={_quoted(box.label)}, shape={shapes[box.kind]}];")
        if box.undo is not None:
            lines.append(f"    {box.id}u [label={_quoted(box.undo)}, shape=box, style=dashed];")
            lines.append(f'    {box.id} -> {box.id}u [label="undo", style=dashed, constraint=false];')
    for above, below in pairwise(rows):
        lines += [f"    {before.id} -> {after.id};" for before in above for after in below]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def to_svg(graph: Graph) -> str:
    """Return the graph as an SVG document: rows from top to bottom, every compensation to the right of its step."""
    rows = _rows(graph)
    width = max(sum(_width(box) + _GAP_PX for box in row) for row in rows) + _GAP_PX
    height = len(rows) * (_BOX_PX + _GAP_PX) + _GAP_PX
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{_STYLE}</style>",
    ]
    above: list[tuple[float, float]] = []
    for number, row in enumerate(rows):
        top = _GAP_PX + number * (_BOX_PX + _GAP_PX)
        centres = list(_centres(row, width))
        for x in centres:
            parts += [f'<path class="line" d="M{at:g} {bottom:g}L{x:g} {top:g}"/>' for at, bottom in above]
        for box, x in zip(row, centres, strict=True):
            parts += _drawn(box, x, top)
        above = [(x, top + _BOX_PX) for x in centres]
    return "\n".join([*parts, "</svg>"])


def _width(box: _Box) -> float:
    """Return what a box takes, its compensation included."""
    return _label_width(box.label) + (0 if box.undo is None else _GAP_PX + _label_width(box.undo))


def _label_width(label: str) -> float:
    return len(label) * _CHARACTER_PX + 24


def _centres(row: Sequence[_Box], width: float) -> Iterator[float]:
    """Yield the middle of each box of a row that stands in the middle of the drawing."""
    left = (width - sum(_width(box) + _GAP_PX for box in row) + _GAP_PX) / 2
    for box in row:
        yield left + _label_width(box.label) / 2
        left += _width(box) + _GAP_PX


def _drawn(box: _Box, x: float, top: float) -> Iterator[str]:
    width = _label_width(box.label)
    left, middle = x - width / 2, top + _BOX_PX / 2
    if box.kind == "transform":
        lean = 8
        right, bottom = left + width, top + _BOX_PX
        yield (
            f'<path d="M{left + lean:g} {top:g}L{right + lean:g} {top:g}L{right - lean:g} {bottom:g}'
            f'L{left - lean:g} {bottom:g}Z"/>'
        )
    else:
        radius = _BOX_PX / 2 if box.kind == "end" else 3
        yield f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{_BOX_PX}" rx="{radius:g}"/>'
    yield f'<text x="{x:g}" y="{middle:g}">{escape(box.label)}</text>'
    if box.undo is not None:
        undo_left, undo_width = left + width + _GAP_PX, _label_width(box.undo)
        yield f'<path class="undo line" d="M{left + width:g} {middle:g}L{undo_left:g} {middle:g}"/>'
        yield (
            f'<rect class="undo" x="{undo_left:g}" y="{top:g}" width="{undo_width:g}" height="{_BOX_PX}" rx="3"/>'
            f'<text x="{undo_left + undo_width / 2:g}" y="{middle:g}">{escape(box.undo)}</text>'
        )
