"""What is said of a run when this process is done with it."""

from typing import Any

from daemon.engine.control import Forestalled
from daemon.engine.execution import Execution, log
from daemon.errors import ForestalledError, StoreUnavailableError
from daemon.store.model import RunStatus

_INFO = 20


def interrupted(run_id: str, failure: BaseException | None = None) -> BaseException:
    """Return what to tell whoever waits for a run that this process drives no longer."""
    if isinstance(failure, Forestalled):
        return ForestalledError(f"Run {run_id!r} was started by another process at the same time.")
    error = StoreUnavailableError(f"Run {run_id!r} was interrupted here; it goes on where it stands.")
    error.__cause__ = failure
    return error


def log_end(run: Execution) -> None:
    """Write the one line that tells what became of a run."""
    if not log.is_enabled_for(_INFO):
        return
    record = run.record
    fields: dict[str, Any] = {
        "workflow": record.workflow,
        "run_id": record.run_id,
        "trace_id": run.scope.trace.id,
        "attempt": record.attempt,
        "outcome": record.status.value,
        "duration_ms": round(((record.ended_us or record.updated_us) - record.created_us) / 1000, 1),
    }
    if run.errors and record.status is not RunStatus.COMPLETED:
        last = run.errors[-1]["attempts"][-1]
        fields |= {"error": last["type"], "reason": last["message"], "compensated": run.view().compensated}
    log.info("run_finished", **fields)
