"""Takes over what is stored of a run and its children that another process, or an earlier time, has begun."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from daemon.engine.calls import call_named
from daemon.engine.children import child_of, child_run_id, restored_result
from daemon.engine.computed import recall
from daemon.engine.edited import EDITED, step_of
from daemon.engine.execution import Execution
from daemon.engine.failures import INVOKE
from daemon.engine.graphs import Graphs
from daemon.engine.values import DUE
from daemon.errors import CodecError
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState, is_held
from daemon.workflow.codec import Codec
from daemon.workflow.nodes import ChildNode, HookNode, StepNode, WaitNode

INPUT = ""
"""The name under which what cannot be read is noted, if that is the input."""


async def restore(run: Execution, graphs: Graphs) -> None:
    """Read what is stored of a run at the top and of its children, and take it over.

    What the present code cannot read is in `unread` then: perhaps nobody needs it.

    Raises:
        CodecError: The graph of a child cannot be read.
        StoreUnavailableError: The store cannot be read.
    """
    key = run.record.key
    children: Sequence[RunRecord] = ()
    if next(run.graph.children(), None) is not None:
        children = (await run.ports.store.children([key]))[key]
    steps = await run.ports.store.steps([key, *(child.key for child in children)])
    run.resumed = run.record.status is RunStatus.RUNNING or is_held(run.record)
    await _restore(run, steps, children, graphs)


async def _restore(
    run: Execution, steps: Mapping[str, Sequence[StepRecord]], descendants: Sequence[RunRecord], graphs: Graphs
) -> None:
    codec, own = run.graph.input, steps[run.record.key]
    if codec is not None and run.record.input is not None:
        with _reading(run, INPUT, "its input"):
            run.values[0] = codec.restore(run.record.input)
    run.errors = json.loads(run.record.errors)
    children = {child.run_id: child for child in descendants if child.parent_key == run.record.key}
    for node in run.graph.children():
        child = children.get(child_run_id(run.record.run_id, node.name))
        if child is not None:
            rebuilt = await graphs.of(child.graph_hash, node.workflow.graph)
            await _restore(child_of(run, node, child, rebuilt), steps, descendants, graphs)
    for record in own:
        if record.kind in ("transform", "when"):
            with _reading(run, record.name, f"the result of {record.name}"):
                recall(run, record)
        elif record.kind == EDITED:
            run.edited[step_of(record)] = record.input or b"null"
        else:
            with _reading(run, record.name.partition("[")[0], f"the output of {record.name!r}"):
                _take_over(run, record)
    run.passed = _passed_hooks(run)
    _note_failures(run, own)
    if run.record.wake_us is not None or run.record.waiting_for:
        run.set_status(run.record.status)


@contextmanager
def _reading(run: Execution, name: str, what: str) -> Iterator[None]:
    """Note what cannot be read."""
    try:
        yield
    except CodecError as error:
        run.unread = {**run.unread, name: f"{what}: {error}"}


def _take_over(run: Execution, record: StepRecord) -> None:
    run.steps[record.name] = record
    run.failures[record.name] = json.loads(record.failures)
    run.seq = max(run.seq, record.seq)
    run.undone = max(run.undone, record.done_seq or 0)
    node = run.graph.by_name.get(record.name) or call_named(run, record.name)
    if node is None and record.state in DUE:
        run.lacks = {**run.lacks, record.name: f"handler {record.name!r} is missing"}
        run.lost |= {record.name}
    if record.output is None:
        return
    if isinstance(node, StepNode):
        run.values[node.slot] = node.step.definition.output.restore(record.output)
    elif isinstance(node, ChildNode):
        child = run.children.get(node.name)
        graph = node.workflow.graph if child is None else child.graph
        run.values[node.slot] = restored_result(graph, record.output)
    elif isinstance(node, WaitNode):
        run.values[node.slot] = Codec(node.event).restore(record.output)


def _passed_hooks(run: Execution) -> frozenset[str]:
    """Return the hooks before the last node that was begun: a handler that was added since does not run any more."""
    begun = {name.partition("[")[0] for name in run.steps}
    names = list(run.graph.by_name)
    last = max((at for at, name in enumerate(names) if name in begun), default=0)
    return frozenset(name for name in names[:last] if isinstance(run.graph.by_name[name], HookNode))


def _note_failures(run: Execution, steps: Sequence[StepRecord]) -> None:
    """Go on failing where something has failed that the run does not go on without.

    What failed is noted with it, but for a step that was cut off when the time of the run was up: nobody noted yet
    that it was if the process died just then.
    """
    if run.top.record.status is RunStatus.COMPENSATING:
        return
    noted = {error["step"] for error in run.errors if error["phase"] == INVOKE and "child" not in error}
    if any(error["phase"] == INVOKE and "tolerated" not in error for error in run.errors):
        run.begin_to_fail()
    for record in steps:
        if record.state is not StepState.FAILED:
            continue
        node = run.graph.by_name.get(record.name) or call_named(run, record.name)
        tolerated = isinstance(node, StepNode) and node.step.settings.on_failure != "rollback"
        if not tolerated and not run.failing:
            run.begin_to_fail()
        if record.name not in noted and record.kind != "child":
            run.give_up(record.name, INVOKE, run.failures_of(record.name, INVOKE), None, tolerated=tolerated)
