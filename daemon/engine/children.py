"""Workflows as steps of others: each is a run of its own, carried by the task and the journal of the run at the top."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from daemon.activation import RUN_ID_MAX, Trigger
from daemon.clock import new_id
from daemon.engine.control import Failed, Parked, Stop
from daemon.engine.execution import Execution
from daemon.engine.stepping import give_up, is_past
from daemon.engine.unfinished import end_unfinished
from daemon.engine.values import explained, result_of
from daemon.errors import CodecError, RunExists, RunTimeout
from daemon.store.model import RunRecord, RunStatus, StepState
from daemon.store.writes import InsertRun
from daemon.workflow.codec import Codec
from daemon.workflow.context import RunScope
from daemon.workflow.graph import Graph
from daemon.workflow.nodes import ChildNode
from daemon.workflow.operand import Structure
from daemon.workflow.rebuilding import Rebuilt
from daemon.workflow.workflow import WorkflowBase

Walk = Callable[[Execution], Awaitable[None]]
_MICROSECOND = timedelta(microseconds=1)


async def do_child(run: Execution, node: ChildNode, walk: Walk) -> None:
    """Run a workflow that is a step of another, and keep its result.

    Args:
        run: The run that it is a step of.
        node: The step.
        walk: Goes forward with it.

    Raises:
        Failed: It failed, or its time is over; it is undone in its turn.
        Parked: It waits for long.
    """
    if is_past(run, node):
        return
    if run.failing:
        raise Failed
    child = run.children.get(node.name) or await _begin(run, node)
    child.set_status(RunStatus.RUNNING)
    try:
        await _within_deadline(child, walk)
    except Parked as why:
        parked = why.within(child.record.deadline_us)
        child.set_status(RunStatus.WAITING, parked.wake_us, parked.waiting_for)
        if run.is_abreast:  # what goes on beside it may take long
            await run.journal.flush()
        raise parked from None
    record = run.steps[node.name]
    try:
        child.record.result = result_of(child)
    except Exception as error:  # noqa: BLE001 - a result that has no JSON form, or a pick into what is not there
        give_up(child, child.workflow.name, error)
    child.finish(RunStatus.COMPLETED)
    record.output = child.record.result
    run.values[node.slot] = restored_result(child.graph, record.output)
    run.end(record, StepState.COMPLETED)


def child_run_id(parent: str, name: str) -> str:
    """Return the run id of a child: `parent:name`, hashed when that is too long."""
    run_id = f"{parent}:{name}"
    if len(run_id) <= RUN_ID_MAX:
        return run_id
    return f"{run_id[: RUN_ID_MAX - 25]}:{hashlib.sha256(run_id.encode()).hexdigest()[:24]}"


def child_of(run: Execution, node: ChildNode, record: RunRecord, rebuilt: Rebuilt | None = None) -> Execution:
    """Return the execution of a child, as a part of its parent's; with a graph of its own if that is another one."""
    scope = _scope(run.scope, node.workflow, record)
    child = Execution(run.ports, node.workflow, record, scope, run, rebuilt=rebuilt)
    child.failing, child.stop = run.failing, run.stop
    run.children[node.name] = child
    run.journal.include(record)
    return child


def restored_result(graph: Graph, data: bytes | None) -> Any:
    """Return a stored result as a value at rest."""
    if data is None or data == b"null":
        return None
    return _StructureCodec(graph).restore(data) if isinstance(graph.result, Structure) else graph.restore_result(data)


class _StructureCodec(Codec):
    """The codec of a structured result, whose parts have their own types."""

    __slots__ = ("_graph",)

    def __init__(self, graph: Graph) -> None:
        super().__init__(Any)
        self._graph = graph

    def decode(self, data: bytes) -> Any:
        return self._graph.decode_result(data)


async def _begin(run: Execution, node: ChildNode) -> Execution:
    """Have the child's start written, and what of its parent is not written yet."""
    workflow, now_us, trigger = node.workflow, run.ports.clock.now_us(), _trigger(run.scope)
    codec, data, held = workflow.graph.input, None, None
    edited = run.edited.get(node.name)
    if codec is not None and edited is not None:
        data, held = edited, codec.restore(edited)
    elif codec is not None and node.argument is not None:
        what = f"the input of workflow {workflow.name!r}"
        try:
            data, held = codec.hold(node.argument.resolve(run.values), run.ports.max_payload_bytes, what)
        except CodecError as error:
            give_up(run, node.name, explained(run, node.argument, error))
        except Exception as error:  # noqa: BLE001 - a pick into what is not there, an input that has no JSON form
            give_up(run, node.name, error)
    record = RunRecord(
        key=new_id(now_us),
        app=run.ports.app,
        run_id=child_run_id(run.record.run_id, node.name),
        attempt=run.record.attempt,
        workflow=workflow.name,
        status=RunStatus.RUNNING,
        trigger=trigger.to_json(),
        input=data,
        graph_hash=workflow.graph.hash,
        owner="",
        created_us=now_us,
        updated_us=now_us,
        deadline_us=None if workflow.timeout is None else now_us + workflow.timeout // _MICROSECOND,
        parent_key=run.record.key,
        root_key=run.top.record.key,
    )
    step = run.begin(node.name, data, "child")
    run.put(step)
    child = child_of(run, node, record)  # before its start is durable, so that it has an end whatever comes meanwhile
    child.values[0] = held
    if await _is_taken(run, record) or not await run.journal.flush(InsertRun(record)):
        del run.children[node.name]
        run.end(step, StepState.FAILED)
        give_up(run, node.name, RunExists(record.run_id, f"it is no child of run {run.record.run_id!r}."))
    return child


async def _is_taken(run: Execution, record: RunRecord) -> bool:
    """Tell whether a child's run id is another run's, and not that of a child of a former attempt of its parent.

    Nobody has to look before the first attempt: inserting it tells.
    """
    if record.attempt == 1:
        return False
    former = await run.ports.store.run(record.app, record.run_id)
    return former is not None and (former.root_key is None or json.loads(former.trigger)["id"] != run.record.run_id)


def _trigger(scope: RunScope) -> Trigger:
    by = scope.trigger
    return Trigger("run", scope.workflow, scope.run_id, scope.correlation_id, by.traceparent, by.tracestate)


def _scope(scope: RunScope, workflow: WorkflowBase, record: RunRecord) -> RunScope:
    return replace(
        scope,
        run_id=record.run_id,
        workflow=workflow.name,
        trigger=_trigger(scope),
        module=workflow.fn.__module__,
    )


async def _within_deadline(child: Execution, walk: Walk) -> None:
    """Go forward with a child until its own timeout strikes."""
    deadline_us, limit = child.record.deadline_us, child.workflow.timeout
    if deadline_us is None or limit is None:
        await walk(child)
        return
    left_s = (deadline_us - child.ports.clock.now_us()) / 1_000_000
    if left_s > 0:
        child.task = task = asyncio.ensure_future(_walked(child, walk))
        timer = child.ports.clock.call_later(left_s, lambda: interrupt(child))
        try:
            await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if child.stop is not Stop.TIMEOUT or child.top.stop is not None or this is None or this.cancelling() > 0:
                raise
        else:
            return
        finally:
            timer.cancel()
            child.task = None
    time_is_up(child)
    raise Failed


async def _walked(child: Execution, walk: Walk) -> None:
    await walk(child)


def interrupt(run: Execution) -> None:
    """Cancel a run since its timeout has struck."""
    if run.stop is None and run.workflow.timeout is not None:
        run.halt(Stop.TIMEOUT, run.workflow.timeout)


def time_is_up(run: Execution) -> None:
    """Note that the own timeout of a run is over, of which nothing is running any more."""
    for each in run.tree():
        each.stop = None
    end_unfinished(run, timed_out=True)
    if run.workflow.timeout is not None:
        run.fail(run.workflow.name, RunTimeout(run.workflow.name, run.workflow.timeout))
