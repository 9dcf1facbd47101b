"""What somebody asks of a run that exists: whether it may be done, and the write that makes it durable."""

import json
from collections.abc import Container

from daemon.engine.execution import Ports
from daemon.engine.failures import COMPENSATE, FINAL
from daemon.errors import RunNotFound, RunStateError
from daemon.store.model import RunRecord, RunStatus, StepState
from daemon.store.writes import Outcome, PutStep, ReopenRun, RequestCancel


async def request_cancel(ports: Ports, run_id: str) -> RunRecord:
    """Have it stored that a run is to be cancelled, and return its latest attempt as it was then.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It has ended.
    """
    record = await latest(ports, run_id)
    if not record.status.ended:
        now_us = ports.clock.now_us()
        if await ports.store.commit(RequestCancel(record.key, now_us)) is Outcome.APPLIED:
            record.cancel_us = record.cancel_us or now_us
            return record
        record = await latest(ports, run_id)
    raise RunStateError(f"Run {run_id!r} cannot be cancelled: it has ended, {record.status}.")


async def reopen(ports: Ports, run_id: str, known: Container[str], *, closing: bool) -> RunRecord:
    """Have a rollback that gave up go on, and return the run.

    It becomes this process's if its workflow is among those that are known, unless this process is closing; else it is
    nobody's, and a daemon claims it.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It is not `failed`, or none of its compensations gave up.
    """
    record = await latest(ports, run_id)
    if record.status is not RunStatus.FAILED:
        raise _not_failed(record)
    steps = (await ports.store.steps([record.key]))[record.key]
    stuck = [step for step in steps if step.state is StepState.COMPENSATION_FAILED]
    if not stuck:
        what = "none of its compensations gave up, so there is nothing to go on with; its errors say what was left."
        raise RunStateError(f"Run {run_id!r} cannot be retried: {what}")
    for step in stuck:
        failures = json.loads(step.failures)
        failures[-1][FINAL] = True
        step.state, step.failures = StepState.COMPENSATING, json.dumps(failures).encode()
    names = {step.name for step in stuck}
    errors = json.loads(record.errors)
    left = [error for error in errors if error["phase"] != COMPENSATE or error["step"] not in names]
    record.owner = ports.owner if record.workflow in known and not closing else ""
    record.status, record.errors = RunStatus.COMPENSATING, json.dumps(left).encode()
    record.ended_us, record.updated_us = None, ports.clock.now_us()
    if await ports.store.commit(ReopenRun(record), *map(PutStep, stuck)) is not Outcome.APPLIED:
        raise _not_failed(await latest(ports, run_id))
    return record


def _not_failed(record: RunRecord) -> RunStateError:
    what = "only a rollback that gave up can be, and it"
    return RunStateError(f"Run {record.run_id!r} cannot be retried: {what} is {record.status}.")


async def latest(ports: Ports, run_id: str) -> RunRecord:
    """Return the latest attempt of a run as it is stored. Raises `RunNotFound`."""
    record = await ports.store.run(ports.app, run_id)
    if record is None:
        raise RunNotFound(run_id)
    return record
