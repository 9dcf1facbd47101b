"""One firing of a job: from its claim in the store to its recorded end.

    claimed --> waiting (jitter, queue) --> running: handler --> completed (ok, parked) | failed
                     |                            ^ |
                     v                            +-+ retry, a time-out being a failure
                  skipped

Invariants:
* A firing is one row of the store, claimed before anything happens; whoever finds it claimed does nothing.
* Whether it may begin beside others of its job is the store's to judge, in the claim or when its wait is over.
* Its end and what the handler emitted are one commit, which is void if another process has taken the firing over.
* A cancellation from outside is neither success nor failure: the row is released, and the firing is picked up again by
  whoever goes on, as the next attempt on the same scheduled time, and so on the same runs.
"""

import asyncio
import json
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, TypeVar

from daemon.clock import from_us, iso_of
from daemon.errors import RunNotCompleted, StoreUnavailableError
from daemon.log import canonical_line, get_logger
from daemon.redact import text_of
from daemon.schedule.attempt import Attempt
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job
from daemon.schedule.turns import Turns
from daemon.store.job_model import Claimed, ClaimOutcome, FiringRecord, FiringState, Overlap
from daemon.store.model import RunStatus
from daemon.store.writes import Outcome, StageEvent, UpdateFiring
from daemon.trace import Trace

MAX_CRASHES = 3
_AWAY_US = 2_000_000  # a handler that has missed the store is called again after this
_ERROR_MAX = 4_000
_FAILURES_MAX = 20
T = TypeVar("T")
_log = get_logger(__name__)


class Firing:
    """One firing that this process has claimed.

    Attributes:
        record: Its row. `attempt` is 0 as long as no handler was started.
        waiting: Whether it waits for its delay, its turn or its next attempt: no handler is running.
        task: Runs it; set by whoever starts it, before anything else happens.
    """

    __slots__ = (
        "_around",
        "_attempt",
        "_began_us",
        "_is_lost",
        "_job",
        "_overlap",
        "_trace",
        "_turns",
        "record",
        "scheduled_for",
        "task",
        "waiting",
    )

    task: asyncio.Task[None]

    def __init__(
        self, job: Job[Any], record: FiringRecord, around: Surroundings, turns: Turns, overlap: Overlap
    ) -> None:
        self.record = record
        self.scheduled_for = from_us(record.scheduled_us)
        self.waiting = False
        self._job = job
        self._around = around
        self._turns = turns
        self._overlap = overlap
        self._trace = Trace.of({}, around.app, "job", job.name, self.scheduled_for.isoformat())
        self._attempt: Attempt | None = None
        self._is_lost = False
        self._began_us = record.started_us

    async def resume(self) -> None:
        """Go on with a firing that was taken over; one whose process died of it too often has failed."""
        record = self.record
        if record.state is FiringState.WAITING:
            await self.run()
            return
        if record.due_us is None:
            reason = "it was started and never ended: its process went away"
            self._note_failure(record.attempt - 1, None, "", reason)
        if record.epoch >= MAX_CRASHES:
            reason = f"it was started {record.epoch} times and never ended"
            async with self._line() as line:
                line["attempt"] = record.attempt
                await self._end(line, FiringState.FAILED, error=reason, outcome="failed", reason=reason)
            return
        async with self._line() as line:
            if await (self._commit(line, UpdateFiring(record)) if record.due_us is None else self._begin_next(line)):
                await self._conduct(line)

    async def run(self) -> None:
        """Wait for the delay and the turn, run the handler, and record the end."""
        if self.record.state is FiringState.RUNNING:
            async with self._line() as line:
                await self._conduct(line)
            return
        if self.record.due_us is not None:
            await self._wait_until(self.record.due_us)
        claimed = await self._idle(self._turns.take(self.record, self._begin))
        if claimed.outcome is ClaimOutcome.RUNNING and claimed.record is not None:
            self.record = claimed.record
            async with self._line() as line:
                self._began_us = self.record.started_us
                await self._conduct(line)
        elif claimed.record is not None:
            await tell_skipped(claimed.record, self._around)
        else:
            async with self._line() as line:
                self._lose(line)

    async def _begin(self) -> Claimed:
        """Ask whether it may begin; while the store is away, or our lease is over, it may not."""
        if not self._around.is_leased():
            return Claimed(ClaimOutcome.WAITING)
        try:
            now_us = self._around.clock.now_us()
            return await self._around.store.begin_firing(self.record, overlap=self._overlap, now_us=now_us)
        except StoreUnavailableError as error:
            _log.debug("job_waits", job=self._job.name, error=str(error))
            return Claimed(ClaimOutcome.WAITING)

    async def _wait_until(self, due_us: int) -> None:
        delay_us = due_us - self._around.clock.now_us()
        if delay_us > 0:
            await self._idle(self._around.clock.sleep(delay_us / 1_000_000))

    async def _idle(self, wait: Awaitable[T]) -> T:
        """Await what no handler does; once nothing shall wait any more, that is the end of this task."""
        if self._around.stopping():
            self.task.cancel()
        self.waiting = True
        try:
            return await wait
        finally:
            self.waiting = False

    def lose(self) -> None:
        """Have the handler cancelled: another process has taken the firing over."""
        self._is_lost = True
        self.task.cancel()

    def _line(self) -> AbstractAsyncContextManager[dict[str, object]]:
        return _line_of(self._job.name, self.scheduled_for, self._trace.id, self._around)

    # --- attempts ---

    async def _conduct(self, line: dict[str, object]) -> None:
        try:
            while await self._try(line):
                pass
        except asyncio.CancelledError:
            if self._is_lost:
                self._lose(line)
            raise

    async def _try(self, line: dict[str, object]) -> bool:
        """Run the handler once and record its end; True, after the wait, if there is another attempt."""
        record, retry = self.record, self._job.schedule.retry
        line["attempt"] = record.attempt
        self._attempt = Attempt(self._job, record, self._around, self._trace, self.task)
        error = await self._attempt.run()
        if not self._around.stopping():
            await self._around.clock.sleep(0)  # Of many that begin in one moment, none waits for another one's end.
        if error is None:
            await self._end(line, FiringState.COMPLETED, outcome="ok")
        elif isinstance(error, RunNotCompleted) and not RunStatus(error.status).ended:
            # The run goes on without the handler.
            await self._end(line, FiringState.COMPLETED, outcome="parked", run_id=error.run_id)
        elif isinstance(error, StoreUnavailableError):  # no failure of the job: the same attempt again
            _log.debug("job_retried", attempt=record.attempt, delay_s=_AWAY_US / 1_000_000, exc_info=error)
            record.error = describe(error)
            await self._wait_until(self._around.clock.now_us() + _AWAY_US)
            return await self._commit(line, UpdateFiring(record))  # which waits for the store
        else:
            self._note_failure(record.attempt, self._began_us, type(error).__qualname__, text_of(error))
            if not retry.allows(record.attempt, error):
                await self._end(line, FiringState.FAILED, error=describe(error), outcome="failed", exc_info=error)
                return False
            wait_s = retry.wait_s(record.attempt, self._around.chance())
            _log.debug("job_retried", attempt=record.attempt, delay_s=round(wait_s, 3), exc_info=error)
            record.error = describe(error)
            return await self._await_next(line, wait_s)
        return False

    async def _await_next(self, line: dict[str, object], wait_s: float) -> bool:
        """Record that there is another attempt, and return when it is due; False if the firing is no longer ours."""
        if wait_s > 0:
            self.record.due_us = self._around.clock.now_us() + round(wait_s * 1_000_000)
            if not await self._commit(line, UpdateFiring(self.record)):
                return False
        return await self._begin_next(line)

    async def _begin_next(self, line: dict[str, object]) -> bool:
        """Begin the next attempt when it is due; False if the firing is no longer ours."""
        record = self.record
        if record.due_us is not None:
            await self._wait_until(record.due_us)
        record.attempt += 1
        record.due_us = None
        self._began_us = self._around.clock.now_us()
        return await self._commit(line, UpdateFiring(record))

    def _note_failure(self, attempt: int, began_us: int | None, kind: str, message: str) -> None:
        """Add an attempt to those that have failed, of which the last are kept."""
        failure = {
            "attempt": attempt,
            "started_at": None if began_us is None else iso_of(began_us),
            "ended_at": iso_of(self._around.clock.now_us()) if began_us is not None else None,
            "type": kind,
            "message": _kept(message),
        }
        failures = [*json.loads(self.record.failures), failure]
        self.record.failures = json.dumps(failures[-_FAILURES_MAX:]).encode()

    # --- what is recorded ---

    async def _end(self, line: dict[str, object], state: FiringState, *, error: str = "", **fields: object) -> None:
        """Record the end, and with it what the last attempt emitted; the line gets the fields."""
        record = self.record
        record.state, record.error, record.ended_us = state, error, self._around.clock.now_us()
        staged = () if self._attempt is None or state is not FiringState.COMPLETED else self._attempt.writes
        if await self._commit(line, UpdateFiring(record, hint=self._overlap == "queue"), *staged):
            line |= fields
            if staged:
                self._around.on_staged()

    async def _commit(self, line: dict[str, object], *writes: UpdateFiring | StageEvent) -> bool:
        if await self._around.store.commit(*writes) is Outcome.APPLIED:
            return True
        self._lose(line)
        return False

    @staticmethod
    def _lose(line: dict[str, object]) -> None:
        line |= {"outcome": "taken_over", "reason": "another process holds this firing: our lease had run out"}


async def tell_skipped(record: FiringRecord, around: Surroundings) -> None:
    """Log that a firing was recorded as one that nobody runs."""
    scheduled_for = from_us(record.scheduled_us)
    trace = Trace.of({}, around.app, "job", record.job, scheduled_for.isoformat())
    async with _line_of(record.job, scheduled_for, trace.id, around) as line:
        line |= {"attempt": record.attempt, "outcome": "skipped", "reason": record.error}


def _line_of(
    job: str, scheduled_for: datetime, trace_id: str, around: Surroundings
) -> AbstractAsyncContextManager[dict[str, object]]:
    ids = {"job": job, "scheduled_for": scheduled_for.isoformat(), "trace_id": trace_id}
    return canonical_line("job_finished", around.clock, log=_log, **ids)


def describe(error: BaseException) -> str:
    """Return an exception's type and message as every database takes it: at most 4,000 characters, without secrets."""
    name, message = type(error).__qualname__, text_of(error)
    return _kept(f"{name}: {message}" if message else name)


def _kept(text: str) -> str:
    return text[:_ERROR_MAX].encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
