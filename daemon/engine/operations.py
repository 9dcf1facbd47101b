"""What somebody asks of a run that exists: whether it may be done, and the write that makes it durable."""

from daemon.engine.execution import Ports
from daemon.errors import RunNotFound, RunStateError
from daemon.store.model import Outcome, RequestCancel, RunRecord


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


async def latest(ports: Ports, run_id: str) -> RunRecord:
    """Return the latest attempt of a run as it is stored. Raises `RunNotFound`."""
    record = await ports.store.run(ports.app, run_id)
    if record is None:
        raise RunNotFound(run_id)
    return record
