"""What a run still needs of the code, and what of that is not there."""

from collections.abc import Iterator, Sequence

from daemon.engine.calls import begun, handlers_ahead, items_of
from daemon.engine.execution import Execution
from daemon.engine.stepping import is_past
from daemon.engine.unfinished import names_of
from daemon.engine.values import compensate_input_of, is_due
from daemon.errors import CodecError
from daemon.store.model import RunStatus
from daemon.workflow.nodes import (
    ChildNode,
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    StepNode,
    TransformNode,
    WhenNode,
    walk,
)
from daemon.workflow.operand import Slot
from daemon.workflow.rebuilding import RESULT
from daemon.workflow.stored import slots_in

_Ahead = Iterator[tuple[Execution, Node]]


def lacking(run: Execution) -> list[str]:
    """Return, in words, what a run at the top needs and what is not there; empty: it can go on.

    On its way forward it needs every node that has no outcome, the stored values that those use, and what may have to
    be undone. On its way back it needs the latter alone, and before that what may have been running when a process
    died, if that can be undone. A node that is past, and cannot be undone, is not needed.
    """
    found: dict[str, None] = {}
    is_back = run.failing or run.record.status is RunStatus.COMPENSATING or _is_late(run)
    for each in run.tree():
        if is_back or each.lacks or each.unread:
            found |= dict.fromkeys(_lacking_undo(each, is_back=is_back))
    if any(each.lacks or each.unread for each in run.tree()):
        if not is_back:
            found |= dict.fromkeys(_lacking_ahead(run))
        elif run.resumed and run.record.status is not RunStatus.COMPENSATING:
            found |= dict.fromkeys(_lacking_doubt(run))
        for each in run.tree():
            each.skips.clear()  # they are found anew by whoever walks
    return list(found)


def _is_late(run: Execution) -> bool:
    deadline_us = run.record.deadline_us
    return deadline_us is not None and deadline_us <= run.ports.clock.now_us()


def _lacking_undo(run: Execution, *, is_back: bool) -> Iterator[str]:
    """Iterate over what is missing of the compensations that are due, or may become so."""
    for node in begun(run, walk(run.graph.nodes)):
        if not is_due(run, node):
            continue
        name = _base(node.name)
        if name in run.lacks:
            yield run.lacks[name]
        elif name in run.unread and run.steps[node.name].undo is None:
            yield run.unread[name]
        elif is_back:
            try:
                compensate_input_of(run, node)
            except CodecError as error:
                yield f"what the compensation of {node.name!r} gets: {error}"
    yield from (why for name, why in run.lacks.items() if name in run.lost)


def _lacking_ahead(run: Execution) -> Iterator[str]:
    inside = {run: None}
    for each, node in _ahead(run, run.graph.nodes):
        inside[each] = None
        if node.name in each.lacks:
            yield each.lacks[node.name]
        if not isinstance(node, (ParallelNode, OtherwiseNode)):
            yield from _unread(each, [slot for operand in node.operands for slot in slots_in(operand)])
    for each in inside:
        yield from _unread(each, slots_in(each.graph.result))
        if RESULT in each.lacks:
            yield each.lacks[RESULT]


def _lacking_doubt(run: Execution) -> Iterator[str]:
    for each, node in _in_doubt(run, run.graph.nodes):
        can_be_undone = not isinstance(node, (StepNode, LoopNode)) or node.step.definition.compensation is not None
        if node.name in each.lacks and can_be_undone:
            yield each.lacks[node.name]


def _unread(run: Execution, slots: Iterator[Slot] | Sequence[Slot]) -> Iterator[str]:
    for slot in slots:
        if slot.node in run.unread:
            yield run.unread[slot.node]


def _ahead(run: Execution, nodes: Sequence[Node]) -> _Ahead:
    """Iterate over the nodes of a run and its children that may still be walked over, and have no outcome."""
    for node in nodes:
        if not _is_skipped(run, node):
            yield from _ahead_of(run, node)


def _ahead_of(run: Execution, node: Node) -> _Ahead:
    if isinstance(node, ParallelNode):
        for member in node.members:
            yield from _ahead_of(run, member)
    elif isinstance(node, (WhenNode, OtherwiseNode)):
        if node.slot not in run.known:
            yield from ((run, each) for each in walk((node,)))
        elif run.values[node.slot] is isinstance(node, WhenNode):
            yield from _ahead(run, node.nodes)
    elif not _is_past(run, node):
        yield run, node
        if isinstance(node, ChildNode) and node.name in run.children:
            child = run.children[node.name]
            yield from _ahead(child, child.graph.nodes)


def _is_past(run: Execution, node: Node) -> bool:
    if isinstance(node, TransformNode):
        return node.slot in run.known
    if isinstance(node, LoopNode):
        return _is_over(run, node)
    if isinstance(node, HookNode):
        return node.name in run.passed or (node.name not in run.lacks and not handlers_ahead(run, node))
    return is_past(run, node)


def _is_skipped(run: Execution, node: Node) -> bool:
    if run.skips:
        run.skips -= names_of(node)
    return bool(run.skips)


def _is_over(run: Execution, loop: LoopNode) -> bool:
    """Tell whether all calls of a loop have their outcomes, and the list of its items can be read for that."""
    if any(slot.node in run.unread for slot in slots_in(loop.items)):
        return False
    try:
        return all(is_past(run, call) for call in items_of(run, loop))
    except Exception:  # noqa: BLE001 - a pick into what is not there yet, or what is no list
        return False


def _in_doubt(run: Execution, nodes: Sequence[Node]) -> list[tuple[Execution, Node]]:
    """Return what has no outcome, up to the first node that is no transform: more cannot have been running."""
    found: list[tuple[Execution, Node]] = []
    for node in nodes:
        if _is_skipped(run, node):
            continue
        if isinstance(node, WhenNode) and run.values[node.slot] is True:
            more = _in_doubt(run, node.nodes)
        elif isinstance(node, ChildNode) and node.name in run.children and not is_past(run, node):
            child = run.children[node.name]
            more = [(run, node), *_in_doubt(child, child.graph.nodes)]
        else:
            more = list(_ahead_of(run, node))
        found += more
        if any(not isinstance(each, TransformNode) for _, each in more):
            return found
    return found


def _base(name: str) -> str:
    """Return the name of the node that a call is of: `step[0]` is one of `step`."""
    return name.partition("[")[0]
