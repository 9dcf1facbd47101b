"""Forward: walks a graph, node by node, and checkpoints what each step gave."""

import asyncio
import random
from typing import Any, NoReturn

from daemon.activation import activate
from daemon.engine.attempt import call_within, in_thread
from daemon.engine.execution import Execution, Failed, Fenced, Parked, Stop
from daemon.errors import CodecError, PayloadTooLargeError, PermanentFailure, StepTimeout
from daemon.log import get_logger
from daemon.store.model import StepRecord, StepState
from daemon.workflow.codec import Held, taken
from daemon.workflow.context import StepContext
from daemon.workflow.graph import ParallelNode, StepNode, TransformNode
from daemon.workflow.ref import Constant, Slot
from daemon.workflow.step import StepResponse

log = get_logger("sagad.engine")
_DURABLE_WAIT_S = 1.0  # a shorter wait is repeated after a crash rather than written down
_DONE = frozenset({StepState.COMPLETED, StepState.SKIPPED})


async def go_forward(run: Execution) -> None:
    """Run every node that has not run yet, in the graph's order.

    Raises:
        Failed: A node has finally failed; nothing of the run is running any more.
        Parked: The run waits for long; nothing of it is running any more.
        Fenced: Another process has taken the run over.
    """
    for node in run.workflow.graph.nodes:
        kind = type(node)
        if kind is StepNode:
            await _step(run, node)  # type: ignore[arg-type]
        elif kind is TransformNode:
            _transform(run, node)  # type: ignore[arg-type]
        else:
            await _parallel(run, node)  # type: ignore[arg-type]


def _transform(run: Execution, node: TransformNode) -> None:
    try:
        run.values[node.slot] = node.fn(*[operand.resolve(run.values) for operand in node.operands])
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises fails the run
        _give_up(run, node.name, error)


async def _parallel(run: Execution, node: ParallelNode) -> None:
    """Run the members at the same time; all have ended, one way or another, when it returns or raises."""
    stopped: list[Failed | Parked | Fenced] = []

    async def member(step: StepNode) -> None:
        try:
            await _step(run, step)
        except (Failed, Parked, Fenced) as why:
            stopped.append(why)

    async with asyncio.TaskGroup() as group:
        for step in node.members:
            group.create_task(member(step))
    for kind in (Fenced, Failed):
        if any(isinstance(why, kind) for why in stopped):
            raise kind
    if stopped:
        raise min((why for why in stopped if isinstance(why, Parked)), key=lambda why: why.wake_us)


async def _step(run: Execution, node: StepNode) -> None:
    record = run.steps.get(node.name)
    if record is not None and record.state in _DONE:
        return
    try:
        argument, data = _argument(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, an input that has no JSON form
        _give_up(run, node.name, error)
    if run.pending and not node.step.settings.idempotent:
        await run.flush()
    if run.failing:
        raise Failed
    record = run.begin(node, data)
    if record.state is StepState.WAITING:
        await _await_retry(run, node, record)
    while True:
        record.attempts += 1
        record.state = StepState.RUNNING
        ctx = StepContext(run.scope, node.name, record.attempts)
        error = await _attempt(run, node, record, ctx, argument)
        if error is None:
            run.put(record)
            log.debug("step_finished", outcome="ok", **_ids(run, node, record))
            return
        await _after_failure(run, node, record, error)
        argument, _ = _argument(run, node)  # the failed attempt may have changed its copy


async def _attempt(
    run: Execution, node: StepNode, record: StepRecord, ctx: StepContext, argument: Any
) -> BaseException | None:
    """Try once, and return what went wrong; a successful attempt is in the checkpoint and the values."""
    definition = node.step.definition
    timeout = node.step.settings.timeout
    args = (argument, ctx)[: definition.arity]
    activate(ctx)
    try:
        if timeout is not None:
            returned = await call_within(
                run.ports.clock, timeout, node.name, definition.fn, args, is_async=definition.is_async
            )
        elif definition.is_async:
            returned = await definition.fn(*args)
        else:
            returned = await in_thread(definition.fn, *args)
        _keep(run, node, record, returned)
        if ctx.staged:
            run.keep_staged(record, ctx)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises is a failed attempt
        return error
    except asyncio.CancelledError as error:
        if run.stop is None and _cancelled_itself():
            return error
        if run.stop is Stop.TIMEOUT:
            _cut_off(run, node, record)
        raise
    return None


def _cancelled_itself() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


def _cut_off(run: Execution, node: StepNode, record: StepRecord) -> None:
    """The run's timeout cancelled this step: it counts as timed out."""
    timeout = run.workflow.timeout or node.step.settings.timeout
    if timeout is not None:
        run.failure(record, StepTimeout(node.name, timeout))
    _end(run, record, StepState.FAILED)


def _keep(run: Execution, node: StepNode, record: StepRecord, returned: Any) -> None:
    definition = node.step.definition
    limit_bytes = run.ports.max_payload_bytes
    state = StepState.COMPLETED
    if type(returned) is StepResponse:
        if returned.skipped:
            state = StepState.SKIPPED
        elif returned.has_compensate_input:
            what = f"the compensate_input of step {node.name!r}"
            record.undo, _ = definition.undo.hold(returned.compensate_input, limit_bytes, what)
        returned = returned.output
    if state is StepState.COMPLETED:
        what = f"the output of step {node.name!r}"
        record.output, run.values[node.slot] = definition.output.hold(returned, limit_bytes, what)
    record.state = state
    record.ended_us = run.ports.clock.now_us()


def _end(run: Execution, record: StepRecord, state: StepState) -> None:
    record.state = state
    record.ended_us = run.ports.clock.now_us()
    run.put(record)


async def _after_failure(run: Execution, node: StepNode, record: StepRecord, error: BaseException) -> None:
    """Wait for the next attempt of a step that failed. Raises `Failed` if there is none, `Parked` if it is far off."""
    retry = node.step.settings.retry
    final = isinstance(error, (PermanentFailure, CodecError, PayloadTooLargeError)) or run.failing
    if final or not retry.allows(record.attempts, error):
        run.failure(record, error)
        if isinstance(error, PermanentFailure) and error.has_compensate_input:
            _keep_partial(run, node, record, error)
        _end(run, record, StepState.FAILED)
        log.debug("step_finished", outcome="failed", **_ids(run, node, record), **_why(error))
        _give_up(run, node.name, error, record)
    wait_s = retry.wait_s(record.attempts, random.random())  # noqa: S311 - jitter
    run.failure(record, error, again_us=run.ports.clock.now_us() + round(wait_s * 1_000_000))
    record.state = StepState.WAITING
    log.debug("step_retried", wait_s=round(wait_s, 3), **_ids(run, node, record), **_why(error))
    if wait_s >= _DURABLE_WAIT_S:
        run.put(record)
        await run.flush()
    await _await_retry(run, node, record)


def _keep_partial(run: Execution, node: StepNode, record: StepRecord, error: PermanentFailure) -> None:
    what = f"the compensate_input of step {node.name!r}"
    try:
        record.undo, _ = node.step.definition.undo.hold(error.compensate_input, run.ports.max_payload_bytes, what)
    except (CodecError, PayloadTooLargeError) as unfit:
        run.failure(record, unfit)


async def _await_retry(run: Execution, node: StepNode, record: StepRecord) -> None:
    due_us = run.due_us(record)
    left_s = (due_us - run.ports.clock.now_us()) / 1_000_000
    if left_s > run.ports.park_after_s:
        raise Parked(due_us, f"attempt {record.attempts + 1} of {node.name}")
    if left_s > 0:
        await run.ports.clock.sleep(left_s)
    if run.failing:  # a step beside it has failed meanwhile: no new attempt
        _end(run, record, StepState.FAILED)
        raise Failed


def _argument(run: Execution, node: StepNode) -> tuple[Any, bytes | None]:
    """Return what a step gets, as its own copy, and the JSON of it."""
    operand = node.argument
    if operand is None:
        return None, None
    if isinstance(operand, Constant):
        return operand.resolve(run.values), operand.data
    if type(operand) is Slot and not operand.path:
        value = run.values[operand.index]
        if type(value) is Held:
            return value.take(), value.data
    what = f"the input of step {node.name!r}"
    data, held = node.step.definition.input.hold(operand.resolve(run.values), run.ports.max_payload_bytes, what)
    return taken(held), data


def _give_up(run: Execution, name: str, error: BaseException, record: StepRecord | None = None) -> NoReturn:
    """Note a final failure and raise `Failed`."""
    run.fail(name, error, record)
    raise Failed


def _ids(run: Execution, node: StepNode, record: StepRecord) -> dict[str, Any]:
    return {
        "workflow": run.workflow.name,
        "run_id": run.record.run_id,
        "step": node.name,
        "attempt": record.attempts,
    }


def _why(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "reason": str(error)}
