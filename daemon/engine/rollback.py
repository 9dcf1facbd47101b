"""Rollback: walks a graph back, and undoes what was done, the last finished first."""

import asyncio
import random
from functools import partial
from typing import Any

from daemon.activation import activate
from daemon.engine.abreast import Begin, do_abreast
from daemon.engine.attempt import in_thread
from daemon.engine.calls import begun, handlers_of
from daemon.engine.control import Fenced, Stop, together
from daemon.engine.emitting import stage
from daemon.engine.execution import Execution, log
from daemon.engine.failures import COMPENSATE, FINAL, INVOKE, describe_doubt, trimmed
from daemon.engine.pauses import AWAY_S, outlast, wait_until
from daemon.engine.strays import is_away
from daemon.engine.values import compensate_input_of, is_due
from daemon.errors import PermanentFailure
from daemon.store.model import RunStatus, StepRecord, StepState
from daemon.workflow.context import StepContext
from daemon.workflow.definition import CompensationFunction
from daemon.workflow.nodes import (
    ChildNode,
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    StepNode,
    WhenNode,
)
from daemon.workflow.run import IN_DOUBT

# Names, since an enum takes long to find its members.
_FAILED, _COMPENSATING, _COMPENSATED = StepState.FAILED, StepState.COMPENSATING, StepState.COMPENSATED
_UNKNOWN = frozenset({"StepTimeout", IN_DOUBT})
_UNDONE = frozenset({RunStatus.REVERTED, RunStatus.FAILED, RunStatus.CANCELLED})


async def roll_back(run: Execution, end: RunStatus) -> None:
    """Undo every step that is due, in reverse order, and give the run its end; one that gives up stops no other.

    Args:
        run: The run at the top, of which nothing is running any more, with what failed in its errors.
        end: How it ends if every compensation that was due succeeds, unless it was cancelled; else it ends `failed`.

    Raises:
        Fenced: Another process has taken the run over.
        Parked: A compensation is tried again, but not soon.
    """
    run.begin_to_fail()
    is_begun = run.record.status is RunStatus.COMPENSATING
    is_due = False
    for each in run.tree():
        due = due_of(each)
        if not is_begun:
            _note_doubts(each, due)
        if due:
            is_due = True
            each.set_status(RunStatus.COMPENSATING)
    if is_due and not is_begun:
        run.set_status(RunStatus.COMPENSATING)
        if not run.journal.unseen:
            await run.journal.put_run()  # from here on a crash never turns the run forward again
    await _walk_back(run, run.graph.nodes)
    gave_up = any(error["phase"] == COMPENSATE for error in run.errors)
    run.finish(RunStatus.FAILED if gave_up else RunStatus.CANCELLED if run.cancelling else end)


def due_of(run: Execution) -> set[str]:
    """Return the names of a run's own steps that are to be undone."""
    return {node.name for node in begun(run, run.graph.by_name.values()) if is_due(run, node)}


async def _walk_back(run: Execution, nodes: tuple[Node, ...]) -> None:
    for node in reversed(nodes):
        if isinstance(node, StepNode):
            await _undo(run, node)
        elif isinstance(node, HookNode):
            for handler in reversed(handlers_of(run, node)):
                await _undo(run, handler)
        elif isinstance(node, ChildNode):
            await _undo_child(run, node)
        elif isinstance(node, (LoopNode, ParallelNode)):
            await _undo_group(run, node)
        elif isinstance(node, (WhenNode, OtherwiseNode)):
            await _walk_back(run, node.nodes)


async def _undo_child(run: Execution, node: ChildNode) -> None:
    """Undo everything that a child has done, and give its run its end."""
    child, record = run.children.get(node.name), run.steps.get(node.name)
    if child is None or record is None or child.record.status in _UNDONE:
        return
    if any(due_of(each) for each in child.tree()):
        record.become(StepState.COMPENSATING)
    await _walk_back(child, child.graph.nodes)
    gave_up = any(error["phase"] == COMPENSATE for error in child.errors)
    child.finish(RunStatus.FAILED if gave_up else RunStatus.REVERTED)
    if gave_up or child.undone:
        record.become(StepState.COMPENSATING)  # nothing was due any more if it was all undone before a crash
        record.become(StepState.COMPENSATION_FAILED if gave_up else StepState.COMPENSATED)
    if record.state is StepState.COMPENSATED:
        run.undone += 1
        record.done_seq = run.undone
    run.put(record)


def _note_doubts(run: Execution, due: set[str]) -> None:
    """Note the steps that may have left an effect and that nobody can undo: their compensation refuses None."""
    in_doubt = {record.name for record in run.steps.values() if record.name not in due and _is_in_doubt(run, record)}
    if not in_doubt:
        return
    in_doubt -= {error["step"] for error in run.errors if error["phase"] == COMPENSATE and "child" not in error}
    for node in begun(run, run.graph.by_name.values()):
        if node.name in in_doubt and node.step.definition.compensation is not None:
            run.give_up(node.name, COMPENSATE, [describe_doubt(node.name, run.ports.clock.now_us())], None)


def _is_in_doubt(run: Execution, record: StepRecord) -> bool:
    return record.state is _FAILED and any(
        failure["type"] in _UNKNOWN for failure in run.failures_of(record.name, INVOKE)
    )


async def _undo_group(run: Execution, group: LoopNode | ParallelNode) -> None:
    """Undo the members at the same time; all attempts have ended when it returns or raises."""
    members = group.members if isinstance(group, ParallelNode) else (group,)
    work: list[Begin] = [partial(_undo, run, step) for step in begun(run, members) if is_due(run, step)]
    work += [partial(_undo_child, run, member) for member in members if isinstance(member, ChildNode)]
    if len(work) == 1:
        await work[0]()
        return
    if not work:
        return
    if not run.journal.is_clear:
        await run.journal.flush()  # once and for all of them: none may start before it is durable
    stopped = await do_abreast(run, work, limit=len(work), writes=True, stops=False)
    for why in stopped:
        if isinstance(why, Fenced):
            raise why
    if stopped:
        raise together(stopped)


async def _undo(run: Execution, node: StepNode) -> None:
    """Try the compensation of a step that is due until it succeeds or gives up."""
    compensation = node.step.definition.compensation
    if compensation is None or not is_due(run, node):
        return
    record = run.steps[node.name]
    if not run.journal.is_clear:
        await run.journal.flush()
    retry = node.step.settings.compensation_retry
    failures = run.failures_of(node.name, COMPENSATE)
    former = _finally_failed(failures) if failures else 0
    while True:
        if failures:
            await wait_until(run, failures[-1].get("again_us", 0), f"the compensation of {node.name}")
        if run.stop is not None:
            raise asyncio.CancelledError
        attempt = len(failures) + 1
        record.become(_COMPENSATING)
        error = await _compensate(run, node, compensation, attempt)
        if error is None:
            _note_undone(run, node, record, attempt)
            return
        why = {"error": type(error).__name__, "reason": str(error)}
        if is_away(error):  # it has missed the store: that does not count
            _log(run, node, attempt, "step_retried", wait_s=AWAY_S, **why)
            await outlast(run)
            continue
        if isinstance(error, PermanentFailure) or not retry.allows(attempt - former, error):
            run.note_failure(node.name, error, phase=COMPENSATE)
            record.become(StepState.COMPENSATION_FAILED)
            run.put(record)
            run.give_up(node.name, COMPENSATE, run.failures_of(node.name, COMPENSATE), error)
            _log(run, node, attempt, "compensation_finished", outcome="failed", **why)
            return
        wait_s = retry.wait_s(attempt - former, random.random())  # noqa: S311 - jitter
        again_us = run.ports.clock.now_us() + round(wait_s * 1_000_000)
        run.note_failure(node.name, error, phase=COMPENSATE, again_us=again_us)
        _log(run, node, attempt, "step_retried", wait_s=round(wait_s, 3), **why)
        if run.is_long(wait_s):
            run.put(record)
            await run.journal.flush()
        failures = run.failures_of(node.name, COMPENSATE)


def _note_undone(run: Execution, node: StepNode, record: StepRecord, attempt: int) -> None:
    run.undone += 1
    record.become(_COMPENSATED)
    record.done_seq = run.undone
    run.put(record)
    if run.is_debugged:
        _log(run, node, attempt, "compensation_finished", outcome="ok")


def _finally_failed(failures: list[dict[str, Any]]) -> int:
    """Return how many attempts there were until a compensation gave up, before it was taken up again."""
    return max((number for number, failure in enumerate(failures, 1) if FINAL in failure), default=0)


async def _compensate(
    run: Execution, node: StepNode, compensation: CompensationFunction, attempt: int
) -> BaseException | None:
    """Try a compensation once, and return what went wrong."""
    ctx = StepContext(run.scope, node.name, attempt, COMPENSATE)
    activate(ctx)
    failure: BaseException | None = None
    try:
        args = (compensate_input_of(run, node), ctx)[: compensation.arity]
        if compensation.is_async:
            await compensation.fn(*args)
        else:
            await in_thread(compensation.fn, *args)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if run.stop is not None or task is None or task.cancelling() > 0:
            raise
        failure = error  # it cancelled itself
    except BaseException as error:  # noqa: BLE001 - whatever it raises is a failed attempt, SystemExit and panics too
        failure = trimmed(error)
    if failure is not None and run.stop is Stop.SHUTDOWN:
        raise asyncio.CancelledError
    if ctx.staged:
        stage(run, run.steps[node.name], ctx, succeeded=False)
    return failure


def _log(run: Execution, node: StepNode, attempt: int, event: str, **fields: Any) -> None:
    if run.is_debugged:
        ids = {"workflow": run.workflow.name, "run_id": run.record.run_id, "step": node.name, "attempt": attempt}
        log.debug(event, trace_id=run.scope.trace.id, **ids, **fields)
