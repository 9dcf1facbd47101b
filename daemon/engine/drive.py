"""Drives one run from where it stands to its end, or to where it has to wait."""

import asyncio

from daemon.engine.execution import Execution, Failed, Parked, Stop
from daemon.engine.forward import go_forward
from daemon.engine.rollback import roll_back
from daemon.errors import CodecError, PayloadTooLargeError, RunTimeout
from daemon.store.model import RunStatus


async def drive(run: Execution) -> None:
    """Go forward or back until the run has ended, or is parked; either is durable when this returns.

    Raises:
        Fenced: Another process has taken the run over.
        asyncio.CancelledError: The process stops; the run goes on where it stands, elsewhere or later.
    """
    try:
        if run.record.status is not RunStatus.COMPENSATING and await _forward(run):
            return
        await roll_back(run, RunStatus.REVERTED)
        await run.put_run()
    except Parked as why:
        run.record.status = RunStatus.WAITING
        run.record.wake_us, run.record.waiting_for = why.wake_us, why.waiting_for
        await run.put_run()


async def _forward(run: Execution) -> bool:
    """Go forward; tell whether the run has completed, else it has to be rolled back."""
    timer = None
    if run.record.deadline_us is not None:
        left_s = (run.record.deadline_us - run.ports.clock.now_us()) / 1_000_000
        timer = run.ports.clock.call_later(max(0.0, left_s), lambda: _interrupt(run))
    try:
        run.record.status = RunStatus.RUNNING
        await go_forward(run)
        run.record.result = run.workflow.graph.hold_result(run.values, run.ports.max_payload_bytes)
    except Failed:
        return False
    except (CodecError, PayloadTooLargeError, LookupError, AttributeError) as error:
        run.fail(run.workflow.name, error)
        return False
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if run.stop is not Stop.TIMEOUT or task is None or task.uncancel() > 0:
            raise
        if run.workflow.timeout is not None:
            run.fail(run.workflow.name, RunTimeout(run.workflow.name, run.workflow.timeout))
        return False
    finally:
        if timer is not None:
            timer.cancel()
    run.release_staged()
    run.finish(RunStatus.COMPLETED)
    await run.put_run()
    return True


def _interrupt(run: Execution) -> None:
    if run.stop is None and run.task is not None and not run.failing:
        run.stop = Stop.TIMEOUT
        run.task.cancel()
