"""Drives one run from where it stands to its end, or to where it has to wait."""

import asyncio

from daemon.engine.children import interrupt, time_is_up
from daemon.engine.control import Failed, Parked, Stop
from daemon.engine.emitting import release
from daemon.engine.execution import Execution
from daemon.engine.forward import go_forward
from daemon.engine.rollback import roll_back
from daemon.engine.strays import is_away
from daemon.engine.unfinished import end_in_doubt, end_unfinished, steps_in_doubt
from daemon.engine.values import result_of
from daemon.store.model import RunStatus

# Names, since an enum takes long to find its members.
_COMPENSATING, _RUNNING, _COMPLETED = RunStatus.COMPENSATING, RunStatus.RUNNING, RunStatus.COMPLETED


async def drive(run: Execution) -> None:
    """Go forward or back until the run has ended, or is parked; either is durable when this returns.

    Raises:
        Fenced: Another process has taken the run over.
        asyncio.CancelledError: The process stops; the run goes on where it stands, elsewhere or later. What is
            finished of it is durable, and will not be repeated.
        StoreUnavailableError: The store failed; what is finished is durable, unless that failed, too.
    """
    try:
        if run.woken:
            await run.journal.confirm()
        while not await _go(run):
            await run.journal.put_run()
            if not await _is_signalled(run):
                break
        else:
            await run.journal.put_run(hint=run.workflow.max_concurrency is not None)
    except asyncio.CancelledError:
        if run.stop is Stop.SHUTDOWN and not run.journal.is_clear:
            await run.journal.flush()
        raise
    except Exception as error:
        if is_away(error) and not run.journal.is_clear:  # something could not be read
            await run.journal.flush()
        raise
    run.settled = True


async def _go(run: Execution) -> bool:
    """Go as far as it goes; tell whether the run has ended, else it is to be let go of."""
    try:
        forward = _forward_from_doubt if run.resumed else _forward
        if run.record.status is _COMPENSATING or not await forward(run):
            await roll_back(run, RunStatus.REVERTED)
    except Parked as why:
        _park(run, why)
        return False
    return True


def _park(run: Execution, why: Parked) -> None:
    """Let go of the run until it is due; a rollback stays one, and a run's deadline is never slept through."""
    if run.record.status is _COMPENSATING:
        run.set_status(_COMPENSATING, why.wake_us, why.waiting_for)
    else:
        parked = why.within(run.record.deadline_us)
        run.set_status(RunStatus.WAITING, parked.wake_us, parked.waiting_for)


async def _is_signalled(run: Execution) -> bool:
    """Tell whether something came that the run waits for, before everybody could know that it does."""
    since_us, store, app = run.record.created_us, run.ports.store, run.ports.app
    for each in run.tree():
        for record in each.steps.values():
            if record.awaits and await store.signal(app, record.awaits, since_us) is not None:
                return True
    return False


async def _forward_from_doubt(run: Execution) -> bool:
    """Go forward as `_forward`; what may have run before, and could not be tried again, has failed in the end."""
    in_doubt = steps_in_doubt(run)
    if await _forward(run):
        return True
    end_in_doubt(in_doubt)
    return False


async def _forward(run: Execution) -> bool:
    """Go forward; tell whether the run has completed, else it has to be rolled back."""
    if run.failing:  # a step had failed when the process died that drove the run
        end_unfinished(run)
        return False
    timer = None
    deadline_us = run.record.deadline_us
    if deadline_us is not None:
        left_s = (deadline_us - run.ports.clock.now_us()) / 1_000_000
        if left_s <= 0:
            time_is_up(run)
            return False
        timer = run.ports.clock.call_later(left_s, lambda: interrupt(run))
    run.set_status(_RUNNING)
    try:
        await go_forward(run)
        _hold_result(run)
    except Failed:
        end_unfinished(run)
        return False
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if run.stop is not Stop.TIMEOUT or task is None or task.uncancel() > 0:
            raise
        time_is_up(run)
        return False
    finally:
        if timer is not None:
            timer.cancel()
    release(run)
    run.finish(_COMPLETED)
    return True


def _hold_result(run: Execution) -> None:
    try:
        run.record.result = result_of(run)
    except Exception as error:
        run.fail(run.workflow.name, error)  # a result that has no JSON form, or a pick into what is not there
        raise Failed from error
