"""The steps of a run that will have no further attempt, and those of which nobody knows whether they had one."""

from datetime import timedelta

from daemon.engine.calls import handlers_ahead, items_of, keep_outputs
from daemon.engine.computed import compute, decide
from daemon.engine.execution import Execution
from daemon.engine.failures import INVOKE, describe_doubt
from daemon.engine.stepping import is_past
from daemon.errors import StepTimeout
from daemon.store.model import StepRecord, StepState
from daemon.workflow.nodes import (
    EmitNode,
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    StepNode,
    TransformNode,
    WhenNode,
)

Ahead = list[tuple[Execution, StepNode]]


def steps_in_doubt(run: Execution) -> Ahead:
    """Return the steps of a run and its children that may have been running when the process died that drove it."""
    ahead = _next_steps(run, run.graph.nodes) or []
    for each in run.tree():
        each.skips.clear()  # they are found anew on the way forward
    return [(each, node) for each, node in ahead if node.name not in each.steps]


def end_in_doubt(steps: Ahead) -> None:
    """End the steps that were in doubt and that nothing has tried since: the run fails, and they may have run."""
    for run, node in steps:
        if node.name not in run.steps:
            record = run.begin(node.name, None)
            record.attempts += 1
            doubt = describe_doubt(node.name, run.ports.clock.now_us())
            run.failures.setdefault(node.name, []).append({**doubt, "phase": INVOKE})
            run.end(record, StepState.FAILED)


def end_unfinished(run: Execution, *, timed_out: bool = False) -> None:
    """End what waits in a run and its children, since it fails, its time is up, or it is cancelled.

    Args:
        run: Nothing of it is running any more.
        timed_out: Whether its time is up: that is what failed then, and not the step that waits for its next attempt.
    """
    limit = (run.workflow.timeout or timedelta()) if timed_out else None
    for each in run.tree():
        for record in list(each.steps.values()):
            _end(each, record, limit=limit)


def _end(run: Execution, record: StepRecord, *, limit: timedelta | None) -> None:
    if record.kind == "child" and record.state is StepState.RUNNING:
        run.end(record, StepState.FAILED)
    elif record.state is StepState.WAITING:
        is_step, is_external = record.kind == "step", record.awaits != ""
        record.awaits = ""
        if is_step and is_external and limit is not None:  # what it asked for may be done all the same
            run.note_failure(record.name, StepTimeout(record.name, limit))
        elif is_step and limit is None and run.failures_of(record.name, INVOKE):
            run.fail_step(record.name, None)
        run.end(record, StepState.FAILED if is_step else StepState.SKIPPED)


def _next_steps(run: Execution, nodes: tuple[Node, ...]) -> Ahead | None:
    """Return the steps that may have been running: those of the first node that is not past; None if all are."""
    for node in nodes:
        if run.skips:
            run.skips -= names_of(node)
            if run.skips:
                continue
        try:  # what is evaluated here has no record yet, and what follows it may have been running all the same
            ahead = _ahead_of(run, node)
        except Exception:  # noqa: BLE001 - whatever the application's function raises, it came no further
            return []
        if ahead is not None:
            return ahead
    return None


def names_of(node: Node) -> set[str]:
    """Return by which names a node can be skipped to."""
    return {node.name, *(member.name for member in node.members)} if isinstance(node, ParallelNode) else {node.name}


def _ahead_of(run: Execution, node: Node) -> Ahead | None:
    """Return the steps of a node that may have been running, or None if the run was past it."""
    if isinstance(node, TransformNode):
        compute(run, node)
        return None
    if isinstance(node, (WhenNode, OtherwiseNode)):
        is_taken = decide(run, node) if isinstance(node, WhenNode) else run.values[node.slot] is False
        return _next_steps(run, node.nodes) if is_taken else None
    if isinstance(node, ParallelNode):
        members = [ahead for member in node.members if (ahead := _ahead_of(run, member)) is not None]
        return [step for ahead in members for step in ahead] if members else None
    if isinstance(node, (LoopNode, HookNode)):
        return _calls_ahead(run, node)
    return None if isinstance(node, EmitNode) or is_past(run, node) else _inside(run, node)


def _inside(run: Execution, node: Node) -> Ahead:
    """Return what may have been running of a node that was begun, perhaps, and not ended."""
    if isinstance(node, StepNode):
        return [(run, node)]
    child = run.children.get(node.name)
    return (_next_steps(child, child.graph.nodes) or []) if child is not None else []


def _calls_ahead(run: Execution, node: LoopNode | HookNode) -> Ahead | None:
    calls = items_of(run, node) if isinstance(node, LoopNode) else handlers_ahead(run, node)
    undone = [(run, each) for each in calls if not is_past(run, each)]
    if isinstance(node, HookNode):
        return undone[:1] or None
    if not undone:
        keep_outputs(run, node, calls)  # what follows may be made of them
    # They were begun in order, and each was stored before another was begun.
    return (undone if node.step.settings.idempotent else undone[: node.concurrency]) or None
