"""Draws a workflow's graph as SVG; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from daemon.workflow.flow import Arrow, Box, Column, Fork, flow_of
from daemon.workflow.graph import Graph

_CHARACTER_PX = 7.5  # of a 12 px monospaced font
_BOX_PX = 34
_GAP_PX = 36
_LANE_PX = 12
_CORNER_PX = 12  # of a diamond, beyond its label
_BASELINE_PX = 4  # of a text, below its middle
_STYLE = (
    ".sagad text{font:12px monospace;text-anchor:middle}"
    ".sagad rect,.sagad path{fill:#fff;stroke:#334;stroke-width:1.2}.sagad .line{fill:none;marker-end:url(#sagad-head)}"
    ".sagad .undo{stroke-dasharray:4 3;stroke:#a40;marker-end:none}.sagad .skip{stroke-dasharray:6 3}"
    ".sagad .bars{fill:none}.sagad .head{fill:#334;stroke:none}"
)
_HEAD = (
    '<marker id="sagad-head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="head" d="M0 0L8 4L0 8Z"/></marker>'
)


class _Extent(NamedTuple):
    """How far something reaches to the left and to the right of the line on which it stands, in pixels."""

    left: float
    right: float


def to_svg(graph: Graph) -> str:
    """Return the graph as an SVG document.

    It goes from top to bottom; members of a group stand beside each other, a condition's other case to the right of
    the first one, and every compensation to the right of its step. What leads past other boxes after a failure has a
    lane of its own on the left.
    """
    flow = flow_of(graph)
    skips = [arrow for arrow in flow.arrows if arrow.skips]
    reach = _extent_of_column(flow.column)
    left = _GAP_PX + len(skips) * _LANE_PX
    plan = _Plan()
    rows = plan.place(flow.column, left + reach.left, 0)
    width, height = left + reach.left + reach.right + _GAP_PX, rows * (_BOX_PX + _GAP_PX) + _GAP_PX
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="sagad" {size}>', f"<style>{_STYLE}</style>", _HEAD]
    for arrow in flow.arrows:
        parts += plan.skip(arrow, _GAP_PX + skips.index(arrow) * _LANE_PX) if arrow.skips else plan.arrow(arrow)
    for box, (x, top) in plan.places.items():
        parts += _drawn(box, x, top)
    return "\n".join([*parts, "</svg>"])


@dataclass(slots=True)
class _Plan:
    """Where everything stands.

    Attributes:
        places: The middle and the top of each box.
        others: By the box of a condition: where the line to its other case goes down.
    """

    places: dict[Box, tuple[float, float]] = field(default_factory=dict)
    others: dict[Box, float] = field(default_factory=dict)

    def place(self, column: Column, x: float, row: int) -> int:
        """Place a column on the line at x, from a row on, and return the row after it."""
        for item in column:
            if isinstance(item, Fork):
                self._put(item.box, x, row)
                other = self.others[item.box] = x + _other_case(item)
                row = max(self.place(item.below, x, row + 1), self.place(item.beside, other, row + 1))
                continue
            left = x - _extent_of_row(item).left
            for box in item:
                extent = _extent_of_box(box)
                self._put(box, left + extent.left, row)
                left += extent.left + extent.right + _GAP_PX
            row += 1
        return row

    def arrow(self, arrow: Arrow) -> Iterator[str]:
        """Yield an arrow that goes down, sideways right above its end, and in."""
        (x, top), (end_x, end_top) = self.places[arrow.start], self.places[arrow.end]
        points = [(x, top + _BOX_PX)]
        label_x, label_y = x + 18, top + _BOX_PX + _GAP_PX / 3
        if arrow.label == "no":
            middle, corner_x = top + _BOX_PX / 2, x + _extent_of_box(arrow.start).right
            x = self.others[arrow.start]
            points = [(corner_x, middle), (x, middle)]
            label_x, label_y = corner_x + 14, middle - 8
        if x != end_x:
            bend = end_top - _GAP_PX / 2
            points += [(x, bend), (end_x, bend)]
        yield _line("line", *points, (end_x, end_top))
        if arrow.label:
            yield _text(arrow.label, label_x, label_y)

    def skip(self, arrow: Arrow, lane_x: float) -> Iterator[str]:
        """Yield an arrow that goes by way of a lane."""
        (x, top), (end_x, end_top) = self.places[arrow.start], self.places[arrow.end]
        out, back = top + _BOX_PX + _GAP_PX / 4, end_top - _GAP_PX / 4
        x, end_x = x - 10, end_x - 10
        lane = [(x, out), (lane_x, out), (lane_x, back), (end_x, back)]
        yield _line("line skip", (x, top + _BOX_PX), *lane, (end_x, end_top))
        yield _text(arrow.label, x - 30, out + 9)

    def _put(self, box: Box, x: float, row: int) -> None:
        self.places[box] = (x, _GAP_PX + row * (_BOX_PX + _GAP_PX))


def _extent_of_column(column: Column) -> _Extent:
    extents = [_extent_of_fork(each) if isinstance(each, Fork) else _extent_of_row(each) for each in column]
    return _Extent(max((each.left for each in extents), default=0), max((each.right for each in extents), default=0))


def _extent_of_fork(fork: Fork) -> _Extent:
    left = max(_extent_of_box(fork.box).left, _extent_of_column(fork.below).left)
    return _Extent(left, _other_case(fork) + _extent_of_column(fork.beside).right)


def _other_case(fork: Fork) -> float:
    """Return how far to the right of a condition's box its other case stands."""
    first = max(_extent_of_box(fork.box).right, _extent_of_column(fork.below).right)
    return first + _GAP_PX + _extent_of_column(fork.beside).left


def _extent_of_row(row: Sequence[Box]) -> _Extent:
    extents = [_extent_of_box(box) for box in row]
    if len(extents) == 1:
        return extents[0]
    half = (sum(left + right + _GAP_PX for left, right in extents) - _GAP_PX) / 2
    return _Extent(half, half)


def _extent_of_box(box: Box) -> _Extent:
    half = _label_px(box.label) / 2 + (_CORNER_PX if box.kind == "when" else 0)
    return _Extent(half, half + (0 if box.undo is None else _GAP_PX + _label_px(box.undo)))


def _label_px(label: str) -> float:
    return len(label) * _CHARACTER_PX + 24


def _line(kind: str, *points: tuple[float, float]) -> str:
    return f'<path class="{kind}" d="M{"L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def _text(text: str, x: float, y: float) -> str:
    return f'<text x="{x:g}" y="{y + _BASELINE_PX:g}">{escape(text)}</text>'


def _drawn(box: Box, x: float, top: float) -> Iterator[str]:
    width, middle = _label_px(box.label), top + _BOX_PX / 2
    left = x - width / 2
    yield from _outline(box.kind, left, top, width)
    yield _text(box.label, x, middle)
    if box.undo is not None:
        undo_left, undo_width = left + width + _GAP_PX, _label_px(box.undo)
        yield _line("line undo", (left + width, middle), (undo_left, middle))
        yield f'<rect class="undo" x="{undo_left:g}" y="{top:g}" width="{undo_width:g}" height="{_BOX_PX}" rx="3"/>'
        yield _text(box.undo, undo_left + undo_width / 2, middle)


def _outline(kind: str, left: float, top: float, width: float) -> Iterator[str]:
    right, bottom, middle = left + width, top + _BOX_PX, top + _BOX_PX / 2
    corners = {
        "transform": [(left + 8, top), (right + 8, top), (right - 8, bottom), (left - 8, bottom)],
        "when": [
            (left - _CORNER_PX, middle),
            (left + width / 2, top),
            (right + _CORNER_PX, middle),
            (left + width / 2, bottom),
        ],
        "wait": [(left - 8, top), (right, top), (right, bottom), (left - 8, bottom), (left, middle)],
        "emit": [(left, top), (right, top), (right + 8, middle), (right, bottom), (left, bottom)],
        "hook": [(left + 8, top), (right - 8, top), (right, bottom), (left, bottom)],
    }.get(kind)
    if corners is not None:
        yield f'<path d="M{"L".join(f"{x:g} {y:g}" for x, y in corners)}Z"/>'
        return
    if kind == "loop":  # a second sheet behind the first
        yield f'<rect x="{left + 5:g}" y="{top + 5:g}" width="{width:g}" height="{_BOX_PX}" rx="3"/>'
    radius = _BOX_PX / 2 if kind in ("end", "sleep") else 3
    yield f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{_BOX_PX}" rx="{radius:g}"/>'
    if kind == "child":  # the bars of a subroutine
        for x in (left + 5, right - 5):
            yield _line("bars", (x, top), (x, bottom))
