"""Draws a workflow's graph as a Mermaid flowchart; pure."""

import re

from daemon.workflow.flow import Arrow, Box, flow_of
from daemon.workflow.graph import Graph

_MARKUP = re.compile(r'["#&<>`\\%{}@;]')
_SHAPES = {
    "end": '(["{}"])',
    "step": '["{}"]',
    "loop": '[["{}"]]',
    "child": '[["{}"]]',
    "transform": '[/"{}"/]',
    "when": '{{"{}"}}',
    "sleep": '(("{}"))',
    "wait": '>"{}"]',
    "emit": '[\\"{}"\\]',
    "hook": '[/"{}"\\]',
}


def to_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart, from top to bottom."""
    flow = flow_of(graph)
    arrows: dict[Box, list[Arrow]] = {}
    for arrow in flow.arrows:
        arrows.setdefault(arrow.end, []).append(arrow)
    lines = ["flowchart TD"]
    for box in flow.boxes:
        lines.append(f"    {box.id}{_SHAPES[box.kind].format(_label(box.label))}")
        lines += [f"    {each.start.id} {_line(each)} {box.id}" for each in arrows.get(box, ())]
        if box.undo is not None:
            lines.append(f'    {box.id} -. undo .-> {box.id}u("{_label(box.undo)}")')
    return "\n".join(lines)


def _line(arrow: Arrow) -> str:
    if arrow.skips:
        return f"-. {arrow.label} .->"
    return f"-->|{arrow.label}|" if arrow.label else "-->"


def _label(text: str) -> str:
    """Return a label in which nothing is read as markup, a directive, a line's end, or another entity."""
    return _MARKUP.sub(lambda found: "#quot;" if found[0] == '"' else f"#{ord(found[0])};", text)
