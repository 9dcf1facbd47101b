"""Draws a workflow's graph as Graphviz DOT; pure."""

from daemon.workflow.flow import flow_of
from daemon.workflow.graph import Graph

_SHAPES = {
    "end": "oval",
    "step": "box",
    "loop": "box3d",
    "child": "box, peripheries=2",
    "transform": "parallelogram",
    "when": "diamond",
    "sleep": "box, style=rounded",
    "wait": "cds",
    "emit": "rarrow",
    "hook": "trapezium",
}


def to_dot(graph: Graph) -> str:
    """Return the graph as Graphviz DOT, to be laid out by `dot`."""
    flow = flow_of(graph)
    lines = [f"digraph {_quoted(graph.workflow)} {{", "    node [fontname=monospace];"]
    for box in flow.boxes:
        lines.append(f"    {box.id} [label={_quoted(box.label)}, shape={_SHAPES[box.kind]}];")
        if box.undo is not None:
            lines.append(f"    {box.id}u [label={_quoted(box.undo)}, shape=box, style=dashed];")
            lines.append(f'    {{rank=same; {box.id} -> {box.id}u [label="undo", style=dashed];}}')
    for arrow in flow.arrows:
        dashed = ", style=dashed, constraint=false" if arrow.skips else ""
        case = f" [label={_quoted(arrow.label)}{dashed}]" if arrow.label else ""
        lines.append(f"    {arrow.start.id} -> {arrow.end.id}{case};")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
