"""Draws a workflow's graph as Graphviz DOT and as SVG; pure."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from daemon.workflow.flow import Arrow, Box, flow_of
from daemon.workflow.graph import Graph

_CHARACTER_PX = 7.5  # of a 12 px monospaced font
_BOX_PX = 34
_GAP_PX = 30
_LANE_PX = 12
_STYLE = (
    "text{font:12px monospace;text-anchor:middle;dominant-baseline:central}"
    "rect,path{fill:#fff;stroke:#334;stroke-width:1.2}.undo{stroke-dasharray:4 3;stroke:#a40}.line{fill:none}"
    ".skip{stroke-dasharray:6 3}"
)
_DOT = {
    "end": "oval",
    "step": "box",
    "loop": "box3d",
    "child": "box, peripheries=2",
    "transform": "parallelogram",
    "when": "diamond",
    "sleep": "circle",
    "wait": "cds",
    "emit": "rarrow",
    "hook": "trapezium",
}


def to_dot(graph: Graph) -> str:
    """Return the graph as Graphviz DOT, to be laid out by `dot`."""
    flow = flow_of(graph)
    lines = [f"digraph {_quoted(graph.workflow)} {{", "    node [fontname=monospace];"]
    for box in flow.boxes:
        lines.append(f"    {box.id} [label={_quoted(box.label)}, shape={_DOT[box.kind]}];")
        if box.undo is not None:
            lines.append(f"    {box.id}u [label={_quoted(box.undo)}, shape=box, style=dashed];")
            lines.append(f'    {box.id} -> {box.id}u [label="undo", style=dashed, constraint=false];')
    for arrow in flow.arrows:
        dashed = ", style=dashed, constraint=false" if arrow.skips else ""
        case = f" [label={_quoted(arrow.label)}{dashed}]" if arrow.label else ""
        lines.append(f"    {arrow.start.id} -> {arrow.end.id}{case};")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def to_svg(graph: Graph) -> str:
    """Return the graph as an SVG document: rows from top to bottom, every compensation to the right of its step.

    An arrow that passes a row by (a condition's other case is there, or a failed step skips it) has a lane of its own
    on the left.
    """
    flow = flow_of(graph)
    rows = [list(row) for _, row in groupby(flow.boxes, key=lambda box: box.row)]
    lanes = {arrow: lane for lane, arrow in enumerate(each for each in flow.arrows if _passes_by(each))}
    left = len(lanes) * _LANE_PX
    width = left + max(sum(_width(box) + _GAP_PX for box in row) for row in rows) + _GAP_PX
    height = len(rows) * (_BOX_PX + _GAP_PX) + _GAP_PX
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    middles = {box: x for row in rows for box, x in zip(row, _centres(row, left, width), strict=True)}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{_STYLE}</style>"]
    for arrow in flow.arrows:
        lane = lanes.get(arrow)
        parts += _line(arrow, middles, None if lane is None else _GAP_PX / 2 + lane * _LANE_PX)
    for box, x in middles.items():
        parts += _drawn(box, x, _top(box))
    return "\n".join([*parts, "</svg>"])


def _passes_by(arrow: Arrow) -> bool:
    return arrow.skips or arrow.end.row > arrow.start.row + 1


def _top(box: Box) -> float:
    return _GAP_PX + box.row * (_BOX_PX + _GAP_PX)


def _line(arrow: Arrow, middles: Mapping[Box, float], lane_x: float | None) -> Iterator[str]:
    """Yield an arrow from the bottom of a box to the top of another, by way of its lane if it has one."""
    x, top, end_x, end_top = middles[arrow.start], _top(arrow.start), middles[arrow.end], _top(arrow.end)
    path = f"M{x:g} {top + _BOX_PX:g}"
    if lane_x is not None:
        path += f"L{lane_x:g} {top + _BOX_PX + _GAP_PX / 2:g}L{lane_x:g} {end_top - _GAP_PX / 2:g}"
    yield f'<path class="line{" skip" if arrow.skips else ""}" d="{path}L{end_x:g} {end_top:g}"/>'
    if arrow.label:
        near_x, near_y = (x + 20, _GAP_PX / 2) if lane_x is None else ((2 * x + lane_x) / 3, _GAP_PX / 3)
        yield f'<text x="{near_x:g}" y="{top + _BOX_PX + near_y:g}">{escape(arrow.label)}</text>'


def _width(box: Box) -> float:
    """Return what a box takes, its compensation included."""
    return _label_width(box.label) + (0 if box.undo is None else _GAP_PX + _label_width(box.undo))


def _label_width(label: str) -> float:
    return len(label) * _CHARACTER_PX + 24


def _centres(row: Sequence[Box], left: float, width: float) -> Iterator[float]:
    """Yield the middle of each box of a row that stands in the middle of the drawing, its lanes aside."""
    left += (width - left - sum(_width(box) + _GAP_PX for box in row) + _GAP_PX) / 2
    for box in row:
        yield left + _label_width(box.label) / 2
        left += _width(box) + _GAP_PX


def _drawn(box: Box, x: float, top: float) -> Iterator[str]:
    width = _label_width(box.label)
    left, middle = x - width / 2, top + _BOX_PX / 2
    yield from _outline(box.kind, left, top, width)
    yield f'<text x="{x:g}" y="{middle:g}">{escape(box.label)}</text>'
    if box.undo is not None:
        undo_left, undo_width = left + width + _GAP_PX, _label_width(box.undo)
        yield f'<path class="undo line" d="M{left + width:g} {middle:g}L{undo_left:g} {middle:g}"/>'
        yield (
            f'<rect class="undo" x="{undo_left:g}" y="{top:g}" width="{undo_width:g}" height="{_BOX_PX}" rx="3"/>'
            f'<text x="{undo_left + undo_width / 2:g}" y="{middle:g}">{escape(box.undo)}</text>'
        )


def _outline(kind: str, left: float, top: float, width: float) -> Iterator[str]:
    right, bottom, middle = left + width, top + _BOX_PX, top + _BOX_PX / 2
    corners = {
        "transform": [(left + 8, top), (right + 8, top), (right - 8, bottom), (left - 8, bottom)],
        "when": [(left - 12, middle), (left + width / 2, top), (right + 12, middle), (left + width / 2, bottom)],
        "wait": [(left - 8, top), (right, top), (right, bottom), (left - 8, bottom), (left, middle)],
        "emit": [(left, top), (right, top), (right + 8, middle), (right, bottom), (left, bottom)],
        "hook": [(left + 8, top), (right - 8, top), (right, bottom), (left, bottom)],
    }.get(kind)
    if corners is not None:
        yield f'<path d="M{"L".join(f"{x:g} {y:g}" for x, y in corners)}Z"/>'
        return
    if kind == "loop":  # a second sheet behind the first
        yield f'<rect x="{left + 5:g}" y="{top - 5:g}" width="{width:g}" height="{_BOX_PX}" rx="3"/>'
    radius = _BOX_PX / 2 if kind in ("end", "sleep") else 3
    yield f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{_BOX_PX}" rx="{radius:g}"/>'
    if kind == "child":  # the bars of a subroutine
        yield f'<path class="line" d="M{left + 5:g} {top:g}V{bottom:g}M{right - 5:g} {top:g}V{bottom:g}"/>'
