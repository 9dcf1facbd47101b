"""One step, from its first attempt to its last."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any, NoReturn

from daemon.activation import activate
from daemon.engine.attempt import call_within, in_thread
from daemon.engine.control import Failed, Parked, Stop
from daemon.engine.emitting import stage
from daemon.engine.execution import Execution, log
from daemon.engine.failures import INVOKE, trimmed
from daemon.engine.pauses import AWAY_S, outlast, set_running, set_waiting, wait_until
from daemon.engine.reports import ask_for_report, take_report
from daemon.engine.strays import is_away
from daemon.engine.values import argument_of, keep, keep_partial, keep_undo
from daemon.errors import CodecError, PayloadTooLargeError, PermanentFailure, StepTimeout
from daemon.store.model import StepRecord, StepState
from daemon.workflow.context import StepContext
from daemon.workflow.definition import SkipTo
from daemon.workflow.nodes import Node, StepNode

_RUNNING, _WAITING = StepState.RUNNING, StepState.WAITING  # names: an enum takes long to find its members
_DONE = frozenset({StepState.COMPLETED, StepState.SKIPPED})


def is_past(run: Execution, node: Node) -> bool:
    """Tell whether a node of one record has its outcome, and the run goes on after it."""
    record = run.steps.get(node.name)
    if record is None:
        return False
    return record.state in _DONE or (
        record.state is StepState.FAILED and type(node) is StepNode and _is_tolerated(run, node)
    )


def _is_tolerated(run: Execution, node: StepNode) -> bool:
    """Tell whether the run goes on although a step has failed, and note where it goes on."""
    on_failure = node.step.settings.on_failure
    if isinstance(on_failure, SkipTo):
        run.skips.add(on_failure.step)
    return on_failure != "rollback"


async def do_step(run: Execution, node: StepNode) -> None:
    """Try a step until it has its outcome, and have that written.

    Raises:
        Failed: It has finally failed, and the run with it.
        Parked: It waits for its next attempt, or for somebody to report its outcome.
    """
    if node.name in run.steps and is_past(run, node):
        return
    try:
        argument, data = argument_of(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, an input that has no JSON form
        _refuse(run, node, error)
        return
    if not (run.abreast or node.step.settings.idempotent or run.journal.is_clear):
        await run.journal.flush()  # the barrier: an effectful step starts when all before it in its branch is durable
    if run.failing or run.stop is not None:
        _go_no_further(run)
    record = run.begin(node.name, data)
    is_over = record.state is _WAITING and await _is_attempt_over(run, record)
    while True:
        failure = None if is_over else await _attempt(run, node, record, argument)
        is_over = False
        if failure is None and record.state is _WAITING:
            failure = await take_report(run, node, record)
        if failure is None:
            run.put(record)
            if run.is_debugged:
                log.debug("step_finished", outcome="ok", **_ids(run, record))
            return
        is_uncounted = is_away(failure) and not run.failing and await _is_outlasted(run, record, failure)
        if not is_uncounted and not await _goes_on(run, node, record, failure):
            return
        argument, _ = argument_of(run, node)  # the failed attempt may have changed its copy


def _refuse(run: Execution, node: StepNode, error: BaseException) -> None:
    """Have a step fail, finally, that has no input to be tried with; raise `Failed` unless the run goes on."""
    if run.failing or not _is_tolerated(run, node):
        give_up(run, node.name, error)
    run.note_failure(node.name, trimmed(error))
    run.give_up(node.name, INVOKE, run.failures_of(node.name, INVOKE), error, tolerated=True)
    run.end(run.begin(node.name, None), StepState.FAILED)


def _go_no_further(run: Execution) -> NoReturn:
    if run.stop is not None:
        raise asyncio.CancelledError  # the step before did not let itself be cancelled
    raise Failed


async def _is_attempt_over(run: Execution, record: StepRecord) -> bool:
    """Tell whether a step that waits has the outcome of an attempt that was made; else wait for its next one."""
    if record.awaits != "" or len(run.failures_of(record.name, INVOKE)) < record.attempts:
        return True
    await _await_retry(run, record)
    return False


async def _attempt(run: Execution, node: StepNode, record: StepRecord, argument: Any) -> BaseException | None:
    """Try once, and return what went wrong; a successful attempt is in the checkpoint and the values."""
    definition, settings = node.step.definition, node.step.settings
    record.attempts += 1
    record.become(_RUNNING)
    ctx = StepContext(run.scope, node.name, record.attempts)
    args = (argument, ctx)[: definition.arity]
    activate(ctx)
    failure: BaseException | None = None
    begun_us = run.ports.clock.now_us() if settings.external else 0
    try:
        is_plain = settings.timeout is None and definition.is_async
        returned = await (definition.fn(*args) if is_plain else _call(run, node, args))
        if not settings.external:
            keep(run, node, record, returned)
        elif keep_undo(run, node, record, returned):
            ask_for_report(run, node, record, begun_us)
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


def _call(run: Execution, node: StepNode, args: tuple[Any, ...]) -> Awaitable[Any]:
    definition, timeout = node.step.definition, node.step.settings.timeout
    if timeout is not None:
        return call_within(run.ports.clock, timeout, node.name, definition.fn, args, is_async=definition.is_async)
    return in_thread(definition.fn, *args)


def _cut_off(run: Execution, record: StepRecord) -> None:
    """The run's timeout cancelled this step: it counts as timed out."""
    run.note_failure(record.name, StepTimeout(record.name, run.limit))
    run.end(record, StepState.FAILED)


async def _is_outlasted(run: Execution, record: StepRecord, error: BaseException) -> bool:
    """Wait for the store that an attempt has missed; then that attempt is made again.

    Returns:
        False if the run fails meanwhile: then the attempt counts.

    Raises:
        Fenced: Another process has taken the run over meanwhile.
        Parked: The next attempt is far off.
    """
    record.become(StepState.WAITING)
    if run.is_debugged:
        log.debug("step_retried", wait_s=AWAY_S, **_ids(run, record), **_why(error))
    try:
        await outlast(run)
    except Parked:
        record.attempts -= 1
        raise
    if run.failing:
        return False
    record.attempts -= 1
    return True


async def _goes_on(run: Execution, node: StepNode, record: StepRecord, error: BaseException) -> bool:
    """Wait for the next attempt of a step that failed; False if there is none, and the run goes on without it.

    Raises:
        Failed: There is none, and the run fails.
        Parked: The next one is far off.
    """
    retry = node.step.settings.retry
    final = isinstance(error, (PermanentFailure, CodecError, PayloadTooLargeError)) or run.failing
    if final or not retry.allows(record.attempts, error):
        run.note_failure(node.name, error)
        if run.is_debugged:
            log.debug("step_finished", outcome="failed", **_ids(run, record), **_why(error))
        is_tolerated = not run.failing and _is_tolerated(run, node)
        if is_tolerated:
            run.give_up(node.name, INVOKE, run.failures_of(node.name, INVOKE), error, tolerated=True)
        else:
            run.fail_step(node.name, error)
        if isinstance(error, PermanentFailure) and error.has_compensate_input:
            keep_partial(run, node, record, error)
        run.end(record, StepState.FAILED)
        if is_tolerated:
            return False
        raise Failed
    wait_s = retry.wait_s(record.attempts, random.random())  # noqa: S311 - jitter
    run.note_failure(node.name, error, again_us=run.ports.clock.now_us() + round(wait_s * 1_000_000))
    record.become(StepState.WAITING)
    if run.is_debugged:
        log.debug("step_retried", wait_s=round(wait_s, 3), **_ids(run, record), **_why(error))
    if run.is_long(wait_s):
        set_waiting(run, _due_us(run, record), _next_attempt(record))
        run.put(record)
        await run.journal.flush()
    await _await_retry(run, record)
    return True


async def _await_retry(run: Execution, record: StepRecord) -> None:
    if not run.failing:  # it may have begun to while the failed attempt was being written
        await wait_until(run, _due_us(run, record), _next_attempt(record))
    if run.failing:  # a step beside it has failed meanwhile: no new attempt
        raise Failed
    set_running(run)


def _due_us(run: Execution, record: StepRecord) -> int:
    failures = run.failures.get(record.name)  # none if it has only missed the store
    return int(failures[-1].get("again_us", 0)) if failures else 0


def _next_attempt(record: StepRecord) -> str:
    return f"attempt {record.attempts + 1} of {record.name}"


def give_up(run: Execution, name: str, error: BaseException) -> NoReturn:
    """Note a final failure and raise `Failed`."""
    run.fail(name, trimmed(error))
    raise Failed


def _ids(run: Execution, record: StepRecord) -> dict[str, Any]:
    return {
        "workflow": run.workflow.name,
        "run_id": run.record.run_id,
        "trace_id": run.scope.trace.id,
        "step": record.name,
        "attempt": record.attempts,
    }


def _why(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "reason": str(error)}
