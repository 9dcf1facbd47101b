"""What stays of a run's former attempt when the next one begins at one of its steps: whatever comes before that."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from daemon.clock import new_id
from daemon.engine.calls import begun, handlers_of, items_of, keep_outputs
from daemon.engine.computed import compute, decide
from daemon.engine.edited import EDITED, step_of
from daemon.engine.execution import Execution
from daemon.engine.stepping import is_past
from daemon.engine.unfinished import names_of
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.writes import InsertRun, PutStep, Write
from daemon.workflow.nodes import (
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    StepNode,
    TransformNode,
    WhenNode,
)

_DONE = frozenset({StepState.COMPLETED, StepState.SKIPPED})
_UNDONE = frozenset({StepState.COMPENSATING, StepState.COMPENSATED, StepState.COMPENSATION_FAILED})


class NotKept(Exception):  # noqa: N818 - control flow inside the engine
    """The run cannot begin at the step; the text says why."""


def names_before(run: Execution, target: Node) -> set[str]:
    """Return the names of the records that stay.

    Args:
        run: The former attempt, restored; it is walked over as far as to the target, and nothing of it is written.
        target: What runs again first. Of the other members of its group, those that completed stay.

    Raises:
        NotKept: Something before it did not complete or was undone, or the run did not come this way.
    """
    names: set[str] = set()
    if not _walk(run, run.graph.nodes, target, names):
        raise NotKept("the run did not come this way; rerun it from another step or from the beginning.")
    return names


def _walk(run: Execution, nodes: tuple[Node, ...], target: Node, names: set[str]) -> bool:
    """Note what stays, and tell whether the target was among the nodes."""
    for node in nodes:
        if run.skips:
            run.skips -= names_of(node)
            if run.skips:
                continue
        if node is target:
            return True
        if isinstance(node, ParallelNode) and target in node.members:
            others = [each for member in node.members if member is not target for each in _records(run, member)]
            names.update(each.name for each in others if each.state in _DONE)
            return True
        if isinstance(node, (WhenNode, OtherwiseNode)):
            names.add(node.name)
            if _is_taken(run, node) and _walk(run, node.nodes, target, names):
                return True
        else:
            names.update(_all_done(run, node))
    return False


def _records(run: Execution, member: Node) -> list[StepRecord]:
    """Return the records that there are of a member of a parallel group."""
    nodes = begun(run, [member]) if isinstance(member, (StepNode, LoopNode)) else [member]
    return [run.steps[each.name] for each in nodes if each.name in run.steps]


def _is_taken(run: Execution, node: WhenNode | OtherwiseNode) -> bool:
    if isinstance(node, OtherwiseNode):
        return run.values[node.slot] is False
    try:
        return decide(run, node)
    except Exception:  # noqa: BLE001 - whatever the application's predicate raises, the run came no further
        raise _not_done(run, node, node.name) from None


def _all_done(run: Execution, node: Node) -> list[str]:
    """Return the names of a node's records, all of which have their outcome. Raises `NotKept`."""
    if isinstance(node, ParallelNode):
        return [name for member in node.members for name in _all_done(run, member)]
    try:
        if isinstance(node, TransformNode):
            compute(run, node)
            return [node.name]
        parts: Sequence[Node] = (node,)
        if isinstance(node, LoopNode):
            parts = items_of(run, node)
        elif isinstance(node, HookNode):
            parts = handlers_of(run, node)
    except Exception:  # noqa: BLE001 - whatever the application's function raises, the run came no further
        raise _not_done(run, node, node.name) from None
    for each in parts:
        record = run.steps.get(each.name)
        is_done = is_past(run, each) if isinstance(each, StepNode) else record and record.state is StepState.COMPLETED
        if not is_done:
            raise _not_done(run, node, each.name)
    if isinstance(node, LoopNode):
        keep_outputs(run, node, items_of(run, node))
    return [each.name for each in parts]


def _not_done(run: Execution, node: Node, name: str) -> NotKept:
    record = run.steps.get(name)
    what = "was undone" if record is not None and record.state in _UNDONE else "did not complete"
    return NotKept(f"{name!r}, which comes before it, {what}; rerun it from {node.name!r} or from the beginning.")


@dataclass(frozen=True, slots=True)
class Copies:
    """Makes what stays of a former attempt a part of the next one.

    Attributes:
        root: The row of the next attempt.
        stored: All records of the former attempt and its children, by the keys of these.
        is_published: Whether the staged events have left: then nothing stages them again.
    """

    root: RunRecord
    stored: Mapping[str, Sequence[StepRecord]]
    is_published: bool

    def writes(self, run: Execution, names: Collection[str], edits: Collection[str]) -> list[Write]:
        """Return the writes of what stays, and give the next attempt the errors that it tolerates already.

        Args:
            run: The former attempt, restored.
            names: Its records that stay.
            edits: Its steps whose edited inputs stay.
        """
        copies = list(self._records(run, self.root.key, names, edits))
        within = {copy.record.run_id for copy in copies if isinstance(copy, InsertRun)}
        self.root.errors = _tolerated(run.record, names, within)
        return copies

    def _records(self, run: Execution, key: str, names: Collection[str], edits: Collection[str]) -> Iterator[Write]:
        for record in self.stored[run.record.key]:
            if step_of(record) in edits if record.kind == EDITED else record.name in names:
                yield PutStep(replace(record, run_key=key, events=b"" if self.is_published else record.events))
        for name, child in run.children.items():
            if name in names:
                yield from self._child(child, key, run.steps[name])

    def _child(self, child: Execution, parent_key: str, step: StepRecord) -> Iterator[Write]:
        row = replace(
            child.record,
            key=new_id(self.root.created_us),
            attempt=self.root.attempt,
            status=RunStatus.COMPLETED,  # also if it was rolled back, and there was nothing to undo
            ended_us=step.ended_us,
            parent_key=parent_key,
            root_key=self.root.key,
        )
        names = {record.name for record in self.stored[child.record.key]}
        copies = list(self._records(child, row.key, names, ()))
        row.errors = _tolerated(
            child.record, names, {each.record.run_id for each in copies if isinstance(each, InsertRun)}
        )
        yield InsertRun(row)
        yield from copies


def _tolerated(run: RunRecord, names: Collection[str], within: Collection[str]) -> bytes:
    """Return the errors of a run that it goes on regardless of: those of the steps, and of the children, that stay."""
    errors = [
        error
        for error in json.loads(run.errors)
        if error.get("tolerated") and (error["child"] in within if "child" in error else error["step"] in names)
    ]
    return json.dumps(errors).encode()
