"""Forward: walks a graph, node by node, and checkpoints what each step gave."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from daemon.activation import activate
from daemon.engine.abreast import Stopped, do_abreast
from daemon.engine.attempt import call_within, in_thread
from daemon.engine.computed import compute, decide
from daemon.engine.emitting import stage
from daemon.engine.execution import Execution, Failed, Fenced, Parked, Stop, log
from daemon.engine.failures import INVOKE, describe_doubt, trimmed
from daemon.engine.loops import begun, items_of, keep_outputs
from daemon.engine.values import argument_of, keep, keep_partial
from daemon.errors import CodecError, PayloadTooLargeError, PermanentFailure, StepTimeout
from daemon.store.model import RunStatus, StepRecord, StepState
from daemon.workflow.context import StepContext
from daemon.workflow.nodes import LoopNode, Node, OtherwiseNode, ParallelNode, StepNode, TransformNode, WhenNode

_DONE = frozenset({StepState.COMPLETED, StepState.SKIPPED})


async def go_forward(run: Execution) -> None:
    """Run every node that has not run yet, in the graph's order.

    Raises:
        Failed: A node has finally failed; nothing of the run is running any more.
        Parked: The run waits for long; nothing of it is running any more.
        Fenced: Another process has taken the run over.
    """
    await _walk(run, run.workflow.graph.nodes)
    if run.stop is not None:
        raise asyncio.CancelledError  # the last step did not let itself be cancelled
    if run.failing:
        raise Failed


async def _walk(run: Execution, nodes: tuple[Node, ...]) -> None:
    for node in nodes:
        if run.failing:
            raise Failed  # somebody cancelled the run
        kind = type(node)
        if kind is StepNode:
            await _step(run, node)  # type: ignore[arg-type]
        elif kind is TransformNode:
            _transform(run, node)  # type: ignore[arg-type]
        elif kind is ParallelNode:
            await _parallel(run, node)  # type: ignore[arg-type]
        elif kind is LoopNode:
            await _loop(run, node)  # type: ignore[arg-type]
        elif _is_taken(run, node):  # type: ignore[arg-type]
            await _walk(run, node.nodes)  # type: ignore[union-attr]


def end_unfinished(run: Execution, *, in_doubt: bool) -> None:
    """End the steps that will have no further attempt, since the run's time is up, or it is cancelled.

    Args:
        run: A run of which nothing is running any more.
        in_doubt: Whether the process that drove the run died, perhaps while the next steps were running.
    """
    for record in run.steps.values():
        if record.state is StepState.WAITING:
            if run.cancelling:
                run.fail_step(record.name, None)
            run.end(record, StepState.FAILED)
    if not in_doubt:
        return
    for each in _next_steps(run, run.workflow.graph.nodes):
        record = run.begin(each, None)
        if record.state is not StepState.FAILED:
            record.attempts += 1
            doubt = describe_doubt(each.name, run.ports.clock.now_us())
            run.failures.setdefault(each.name, []).append({**doubt, "phase": INVOKE})
            run.end(record, StepState.FAILED)


def _next_steps(run: Execution, nodes: tuple[Node, ...]) -> list[StepNode]:
    """Return the steps that may have been running: those of the first node that has any that are not done."""
    for node in nodes:
        try:  # what is evaluated here has no record yet, and what follows it may have been running all the same
            ahead = _undone_of(run, node)
        except Exception:  # noqa: BLE001 - whatever the application's function raises, it came no further
            return []
        if ahead:
            return ahead
    return []


def _undone_of(run: Execution, node: Node) -> list[StepNode]:
    if isinstance(node, TransformNode):
        compute(run, node)
        return []
    if isinstance(node, (WhenNode, OtherwiseNode)):
        is_taken = decide(run, node) if isinstance(node, WhenNode) else run.values[node.slot] is False
        return _next_steps(run, node.nodes) if is_taken else []
    if isinstance(node, ParallelNode):
        return [each for member in node.members for each in _undone_of(run, member)]
    if isinstance(node, LoopNode):  # they were begun in order, and each was stored before another was begun
        undone = [each for each in items_of(run, node) if not _is_done(run, each)]
        return undone if node.step.settings.idempotent else undone[: node.concurrency]
    return [] if _is_done(run, node) else [node]


def _is_done(run: Execution, node: StepNode | LoopNode) -> bool:
    record = run.steps.get(node.name)
    return record is not None and record.state in _DONE


def _transform(run: Execution, node: TransformNode) -> None:
    try:
        compute(run, node)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises fails the run
        _give_up(run, node.name, error)


def _is_taken(run: Execution, node: WhenNode | OtherwiseNode) -> bool:
    if type(node) is not WhenNode:
        return run.values[node.slot] is False
    try:
        return decide(run, node)
    except Exception as error:  # noqa: BLE001 - whatever the application's predicate raises fails the run
        _give_up(run, node.name, error)


async def _parallel(run: Execution, node: ParallelNode) -> None:
    """Run the members at the same time; all have ended, one way or another, when it returns or raises."""
    ahead = [each for each in node.members if not _is_done(run, each)]
    if run.pending and not all(each.step.settings.idempotent for each in ahead):
        await run.flush()  # once and for all of them: none may start before it is durable
    work = [partial(_loop if type(each) is LoopNode else _step, run, each) for each in ahead]  # type: ignore[arg-type]
    stopped = await do_abreast(run, work, limit=len(work))
    if stopped:
        _stop_group(run, ahead, stopped)


async def _loop(run: Execution, node: LoopNode) -> None:
    """Call a step for each item; all calls have ended, one way or another, when it returns or raises."""
    try:
        items = items_of(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, or what is no list
        _give_up(run, node.name, error)
    ahead = [item for item in items if not _is_done(run, item)]
    is_effectful, left = not node.step.settings.idempotent, len(ahead)
    if run.pending and is_effectful and ahead and not run.abreast:
        await run.flush()

    async def call(item: StepNode) -> None:
        nonlocal left
        await _step(run, item)
        left -= 1
        if left and is_effectful and run.pending:
            await run.flush()  # a crash repeats no finished item, however long the others take

    stopped = await do_abreast(run, [partial(call, item) for item in ahead], limit=node.concurrency)
    if stopped:
        _stop_group(run, (node,), stopped)
    if run.failing:
        raise Failed
    keep_outputs(run, node, items)


def _stop_group(run: Execution, members: Sequence[Node], stopped: list[Stopped]) -> NoReturn:
    """Raise what a group's members stopped for; the first that is due decides when the run is."""
    for why in stopped:
        if isinstance(why, Fenced):
            raise why
    if not run.failing:
        raise min((why for why in stopped if isinstance(why, Parked)), key=lambda why: why.wake_us)
    for step in begun(run, members):
        record = run.steps.get(step.name)
        if record is not None and record.state is StepState.WAITING:
            _retry_no_more(run, record)
    raise Failed


async def _step(run: Execution, node: StepNode) -> None:
    record = run.steps.get(node.name)
    if record is not None and record.state in _DONE:
        return
    try:
        argument, data = argument_of(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, an input that has no JSON form
        _give_up(run, node.name, error)
    if run.pending and not run.abreast and not node.step.settings.idempotent:
        await run.flush()
    if run.stop is not None:
        raise asyncio.CancelledError  # the step before did not let itself be cancelled
    if run.failing:
        raise Failed
    record = run.begin(node, data)
    if record.state is StepState.WAITING:
        await _await_retry(run, record)
    while True:
        record.attempts += 1
        record.state = StepState.RUNNING
        failure = await _attempt(run, node, record, argument)
        if failure is None:
            run.put(record)
            if run.is_debugged:
                log.debug("step_finished", outcome="ok", **_ids(run, record))
            return
        await _after_failure(run, node, record, failure)
        argument, _ = argument_of(run, node)  # the failed attempt may have changed its copy


async def _attempt(run: Execution, node: StepNode, record: StepRecord, argument: Any) -> BaseException | None:
    """Try once, and return what went wrong; a successful attempt is in the checkpoint and the values."""
    definition = node.step.definition
    timeout = node.step.settings.timeout
    ctx = StepContext(run.scope, node.name, record.attempts)
    args = (argument, ctx)[: definition.arity]
    activate(ctx)
    failure: BaseException | None = None
    try:
        if timeout is not None:
            returned = await call_within(
                run.ports.clock, timeout, node.name, definition.fn, args, is_async=definition.is_async
            )
        elif definition.is_async:
            returned = await definition.fn(*args)
        else:
            returned = await in_thread(definition.fn, *args)
        keep(run, node, record, returned)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if run.stop is None and (task is None or task.cancelling() > 0):
            raise
        failure = error  # it cancelled itself, or it has to end
    except BaseException as error:  # noqa: BLE001 - whatever it raises is a failed attempt, SystemExit and panics too
        failure = trimmed(error)
    if ctx.staged:
        stage(run, record, ctx, succeeded=failure is None)
    if failure is not None and run.stop is not None:
        if run.stop is Stop.TIMEOUT:
            _cut_off(run, record)
        raise asyncio.CancelledError
    return failure


def _cut_off(run: Execution, record: StepRecord) -> None:
    """The run's timeout cancelled this step: it counts as timed out."""
    if run.workflow.timeout is not None:
        run.note_failure(record.name, StepTimeout(record.name, run.workflow.timeout))
    run.end(record, StepState.FAILED)


async def _after_failure(run: Execution, node: StepNode, record: StepRecord, error: BaseException) -> None:
    """Wait for the next attempt of a step that failed. Raises `Failed` if there is none, `Parked` if it is far off."""
    retry = node.step.settings.retry
    final = isinstance(error, (PermanentFailure, CodecError, PayloadTooLargeError)) or run.failing
    if final or not retry.allows(record.attempts, error):
        run.note_failure(node.name, error)
        if run.is_debugged:
            log.debug("step_finished", outcome="failed", **_ids(run, record), **_why(error))
        run.fail_step(node.name, error)
        if isinstance(error, PermanentFailure) and error.has_compensate_input:
            keep_partial(run, node, record, error)
        run.end(record, StepState.FAILED)
        raise Failed
    wait_s = retry.wait_s(record.attempts, random.random())  # noqa: S311 - jitter
    run.note_failure(node.name, error, again_us=run.ports.clock.now_us() + round(wait_s * 1_000_000))
    record.state = StepState.WAITING
    if run.is_debugged:
        log.debug("step_retried", wait_s=round(wait_s, 3), **_ids(run, record), **_why(error))
    if run.is_long(wait_s):
        if not run.abreast:
            run.set_status(RunStatus.WAITING, _due_us(run, record), _next_attempt(record))
        run.put(record)
        await run.flush()
    await _await_retry(run, record)


async def _await_retry(run: Execution, record: StepRecord) -> None:
    await run.wait_until(_due_us(run, record), _next_attempt(record))
    if run.failing:  # a step beside it has failed meanwhile: no new attempt
        _retry_no_more(run, record)
        raise Failed
    run.set_status(RunStatus.RUNNING)


def _due_us(run: Execution, record: StepRecord) -> int:
    return int(run.failures[record.name][-1].get("again_us", 0))


def _next_attempt(record: StepRecord) -> str:
    return f"attempt {record.attempts + 1} of {record.name}"


def _retry_no_more(run: Execution, record: StepRecord) -> None:
    run.fail_step(record.name, None)
    run.end(record, StepState.FAILED)


def _give_up(run: Execution, name: str, error: BaseException) -> NoReturn:
    """Note a final failure and raise `Failed`."""
    run.fail(name, trimmed(error))
    raise Failed


def _ids(run: Execution, record: StepRecord) -> dict[str, Any]:
    return {
        "workflow": run.workflow.name,
        "run_id": run.record.run_id,
        "step": record.name,
        "attempt": record.attempts,
    }


def _why(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "reason": str(error)}
