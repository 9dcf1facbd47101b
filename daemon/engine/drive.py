"""Drives one run from where it stands to its end, or to where it has to wait."""

import asyncio

from daemon.engine.emitting import release
from daemon.engine.execution import Execution, Failed, Parked, Stop
from daemon.engine.forward import end_unfinished, go_forward
from daemon.engine.rollback import roll_back
from daemon.errors import RunTimeout
from daemon.store.model import RunStatus


async def drive(run: Execution) -> None:
    """Go forward or back until the run has ended, or is parked; either is durable when this returns.

    Raises:
        Fenced: Another process has taken the run over.
        asyncio.CancelledError: The process stops; the run goes on where it stands, elsewhere or later. What is
            finished of it is durable, and will not be repeated.
    """
    try:
        if run.record.status is RunStatus.COMPENSATING or not await _forward(run):
            await roll_back(run, RunStatus.REVERTED)
    except Parked as why:
        _park(run, why)
    except asyncio.CancelledError:
        if run.stop is Stop.SHUTDOWN and run.pending:
            await run.flush()
        raise
    await run.put_run()
    run.settled = True


def _park(run: Execution, why: Parked) -> None:
    """Let go of the run until it is due; a rollback stays one, and a run's deadline is never slept through."""
    status, wake_us = run.record.status, why.wake_us
    if status is not RunStatus.COMPENSATING:
        status = RunStatus.WAITING
        if run.record.deadline_us is not None:
            wake_us = min(wake_us, run.record.deadline_us)
    run.set_status(status, wake_us, why.waiting_for)


async def _forward(run: Execution) -> bool:
    """Go forward; tell whether the run has completed, else it has to be rolled back."""
    if run.failing:  # a step had failed when the process died that drove the run
        end_unfinished(run, in_doubt=run.resumed)
        return False
    timer = None
    deadline_us = run.record.deadline_us
    if deadline_us is not None:
        left_s = (deadline_us - run.ports.clock.now_us()) / 1_000_000
        if left_s <= 0:
            return _time_is_up(run, in_doubt=run.resumed)
        timer = run.ports.clock.call_later(left_s, lambda: _interrupt(run))
    run.set_status(RunStatus.RUNNING)
    try:
        await go_forward(run)
        _hold_result(run)
    except Failed:
        return False
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if run.stop is not Stop.TIMEOUT or task is None or task.uncancel() > 0:
            raise
        return _time_is_up(run, in_doubt=False)
    finally:
        if timer is not None:
            timer.cancel()
    release(run)
    run.finish(RunStatus.COMPLETED)
    return True


def _hold_result(run: Execution) -> None:
    try:
        run.record.result = run.workflow.graph.hold_result(run.values, run.ports.max_payload_bytes)
    except Exception as error:
        run.fail(run.workflow.name, error)  # a result that has no JSON form, or a pick into what is not there
        raise Failed from error


def _time_is_up(run: Execution, *, in_doubt: bool) -> bool:
    """Note that the run's own timeout is over; it did not complete."""
    run.stop = None
    end_unfinished(run, in_doubt=in_doubt)
    if run.workflow.timeout is not None:
        run.fail(run.workflow.name, RunTimeout(run.workflow.name, run.workflow.timeout))
    return False


def _interrupt(run: Execution) -> None:
    if run.stop is None and run.task is not None:
        run.stop = Stop.TIMEOUT
        run.task.cancel()
