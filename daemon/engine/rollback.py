"""Rollback: walks a graph back, and undoes what was done, the last finished first."""

import asyncio
import random
from typing import Any

from daemon.activation import activate
from daemon.engine.attempt import call
from daemon.engine.execution import IN_DOUBT, Execution, Fenced
from daemon.log import get_logger
from daemon.store.model import RunStatus, StepState
from daemon.workflow.context import StepContext
from daemon.workflow.definition import CompensationFunction
from daemon.workflow.graph import ParallelNode, StepNode

log = get_logger("sagad.engine")
_NOTHING: Any = object()


async def roll_back(run: Execution, end: RunStatus) -> None:
    """Undo every step that is due, in reverse order, and give the run its end; one that gives up stops no other.

    Args:
        run: A run of which nothing is running any more, with what failed in its errors.
        end: How it ends if every compensation that was due succeeds; else it ends `failed`.

    Raises:
        Fenced: Another process has taken the run over.
    """
    run.failing = True
    _note_doubts(run)
    due = [node for node in run.workflow.graph.steps() if _data_for(run, node) is not _NOTHING]
    if due and run.record.status is not RunStatus.COMPENSATING:
        run.record.status = RunStatus.COMPENSATING
        run.record.wake_us, run.record.waiting_for = None, ""
        await run.put_run()  # from here on a crash never turns the run forward again
    for node in reversed(run.workflow.graph.nodes):
        if isinstance(node, StepNode):
            await _undo(run, node)
        elif isinstance(node, ParallelNode):
            await _undo_group(run, node)
    gave_up = any(error["phase"] == "compensate" for error in run.errors)
    run.finish(RunStatus.FAILED if gave_up else end)


async def _undo_group(run: Execution, node: ParallelNode) -> None:
    stopped: list[Fenced] = []

    async def member(step: StepNode) -> None:
        try:
            await _undo(run, step)
        except Fenced as why:
            stopped.append(why)

    due = [step for step in node.members if _data_for(run, step) is not _NOTHING]
    if len(due) == 1:
        await _undo(run, due[0])
        return
    async with asyncio.TaskGroup() as group:
        for step in due:
            group.create_task(member(step))
    if stopped:
        raise stopped[0]


def _data_for(run: Execution, node: StepNode) -> Any:
    """Return what a step's compensation gets, or `_NOTHING` if the step is not to be undone."""
    record = run.steps.get(node.name)
    compensation = node.step.definition.compensation
    if record is None or compensation is None:
        return _NOTHING
    if record.state is StepState.COMPLETED:
        if record.undo is not None:
            return node.step.definition.undo.decode(record.undo)
        if record.output is not None:
            return compensation.codec.decode(record.output)
    if record.state is StepState.FAILED:
        if record.undo is not None:
            return node.step.definition.undo.decode(record.undo)
        if compensation.accepts_none:
            return None
    return _NOTHING


def _note_doubts(run: Execution) -> None:
    """Note the steps that may have left an effect and that nobody can undo: their compensation refuses None."""
    noted = {error["step"] for error in run.errors if error["phase"] == "compensate"}
    for node in run.workflow.graph.steps():
        record = run.steps.get(node.name)
        if record is None or record.state is not StepState.FAILED or node.name in noted:
            continue
        failures = run.failures(record)
        timed_out = bool(failures) and failures[-1]["type"] == "StepTimeout"
        if timed_out and node.step.definition.compensation is not None and _data_for(run, node) is _NOTHING:
            doubt = {
                "at_us": run.ports.clock.now_us(),
                "type": IN_DOUBT,
                "message": f"{node.name} may have run",
                "traceback": "",
            }
            run.give_up(node.name, "compensate", [doubt], None)


async def _undo(run: Execution, node: StepNode) -> None:
    data = _data_for(run, node)
    compensation = node.step.definition.compensation
    if data is _NOTHING or compensation is None:
        return
    if run.pending:
        await run.flush()
    record = run.steps[node.name]
    retry = node.step.settings.compensation_retry
    failures: list[dict[str, Any]] = []
    attempt = 0
    while True:
        attempt += 1
        error = await _compensate(run, node, compensation, data, attempt)
        ids = {"workflow": run.workflow.name, "run_id": run.record.run_id, "step": node.name, "attempt": attempt}
        if error is None:
            run.undone += 1
            record.state, record.done_seq = StepState.COMPENSATED, run.undone
            run.put(record)
            log.debug("compensation_finished", outcome="ok", **ids)
            return
        run.failure(record, error)
        failures.append(run.failures(record)[-1])
        why = {"error": type(error).__name__, "reason": str(error)}
        if not retry.allows(attempt, error):
            record.state = StepState.COMPENSATION_FAILED
            run.put(record)
            run.give_up(node.name, "compensate", failures, error)
            log.debug("compensation_finished", outcome="failed", **ids, **why)
            return
        log.debug("step_retried", **ids, **why)
        await run.ports.clock.sleep(retry.wait_s(attempt, random.random()))  # noqa: S311 - jitter
        data = _data_for(run, node)  # the failed attempt may have changed its copy


async def _compensate(
    run: Execution, node: StepNode, compensation: CompensationFunction, data: Any, attempt: int
) -> BaseException | None:
    """Try a compensation once, and return what went wrong."""
    ctx = StepContext(run.scope, node.name, attempt)
    activate(ctx)
    try:
        await call(compensation.fn, (data, ctx)[: compensation.arity], is_async=compensation.is_async)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises is a failed attempt
        return error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if run.stop is None and task is not None and task.cancelling() == 0:
            return error
        raise
    return None
