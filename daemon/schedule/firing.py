"""One firing of a job: from its claim in the store to its recorded end.

    claimed --> (jitter, queue) --> handler --> completed (ok, parked) | failed
                     |                 ^ |
                     v                 +-+ retry, a time-out being a failure
                  skipped

Invariants:
* A firing is one row of the store, claimed before anything happens; whoever finds it claimed does nothing.
* Its end and what the handler emitted are one commit, which is void if another process has taken the firing over.
* A cancellation from outside is neither success nor failure: the row stays as it is, and the firing is picked up again
  once its owner is gone, as the next attempt on the same scheduled time, and so on the same runs.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import cache
from typing import Any

from structlog.typing import FilteringBoundLogger

from daemon.activation import Activation, Trigger, activated
from daemon.clock import from_us
from daemon.errors import RunNotCompleted, StoreUnavailableError
from daemon.events.model import Event
from daemon.log import bind, canonical_line, get_logger
from daemon.redact import text_of
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job, JobContext
from daemon.staging import Staging
from daemon.store.model import FiringRecord, FiringState, RunStatus
from daemon.store.writes import Outcome, StageEvent, UpdateFiring
from daemon.trace import Trace

MAX_CRASHES = 3
_AWAY = timedelta(seconds=2)  # a handler that has missed the store is called again after this
_ERROR_MAX = 4_000
_ZERO = timedelta(0)
_log = get_logger(__name__)


@cache
def _logger_of(module: str) -> FilteringBoundLogger:
    return get_logger(module)


class Firing:
    """One firing that this process has claimed.

    Attributes:
        record: Its row. `attempt` is 0 as long as no handler was started.
        waiting: Whether it waits for its delay, its turn or its next attempt: no handler is running.
        task: Runs it; set by whoever starts it, before anything else happens.
    """

    __slots__ = (
        "_around",
        "_expired",
        "_job",
        "_staging",
        "_trace",
        "_turn",
        "_urgent",
        "record",
        "scheduled_for",
        "task",
        "waiting",
    )

    task: asyncio.Task[None]

    def __init__(self, job: Job[Any], record: FiringRecord, around: Surroundings, turn: asyncio.Lock) -> None:
        self.record = record
        self.scheduled_for = from_us(record.scheduled_us)
        self.waiting = False
        self._job = job
        self._around = around
        self._turn = turn
        self._trace = Trace.of({}, around.app, "job", job.name, self.scheduled_for.isoformat())
        self._staging: Staging | None = None
        self._urgent: list[asyncio.Task[None]] = []
        self._expired = False

    async def resume(self) -> None:
        """Run a firing whose process died, as its next attempt; one that ended its process too often has failed."""
        started = self.record.attempt - 1
        if started >= self._job.schedule.retry.max_attempts + MAX_CRASHES - 1:
            await self._end_unrun(FiringState.FAILED, "failed", f"it was started {started} times and never ended")
        else:
            await self.run(queued=True)

    async def run(self, *, queued: bool) -> bool:
        """Wait for the delay and the turn, run the handler, and record the end; False if the firing was skipped.

        Args:
            queued: Wait for the firings before, also where the job's policy is to skip.
        """
        schedule = self._job.schedule
        if schedule.jitter:
            await self._wait(self.scheduled_for + self._job.delay(self.scheduled_for) - self._around.clock.now())
        if schedule.overlap == "allow":
            await self._conduct()
            return True
        if self._turn.locked() and schedule.overlap == "skip" and not queued:
            await self.skip("the firing before goes on")
            return False
        await (self._idle(self._turn.acquire()) if self._turn.locked() else self._turn.acquire())
        try:
            await self._conduct()
        finally:
            self._turn.release()
        return True

    async def skip(self, reason: str) -> None:
        """Record that the handler is not run."""
        await self._end_unrun(FiringState.SKIPPED, "skipped", reason)

    async def _end_unrun(self, state: FiringState, outcome: str, reason: str) -> None:
        async with self._line() as line:
            line["attempt"] = self.record.attempt
            await self._end(line, state, error=reason, outcome=outcome, reason=reason)

    async def _wait(self, delay: timedelta) -> None:
        if delay > _ZERO:
            await self._idle(self._around.clock.sleep(delay.total_seconds()))

    async def _idle(self, wait: Awaitable[object]) -> None:
        """Await what no handler does; once nothing shall wait any more, that is the end of this task."""
        if self._around.stopping():
            self.task.cancel()
        self.waiting = True
        try:
            await wait
        finally:
            self.waiting = False

    def _line(self) -> AbstractAsyncContextManager[dict[str, object]]:
        ids = {"job": self._job.name, "scheduled_for": self.scheduled_for.isoformat(), "trace_id": self._trace.id}
        return canonical_line("job_finished", self._around.clock, log=_log, **ids)

    # --- attempts ---

    async def _conduct(self) -> None:
        async with self._line() as line:
            if self.record.attempt > 0 or await self._begin_next(line):
                while await self._try(line):
                    pass

    async def _try(self, line: dict[str, object]) -> bool:
        """Run the handler once and record its end; True, after the wait, if there is another attempt."""
        record, retry = self.record, self._job.schedule.retry
        line["attempt"] = record.attempt
        error = await self._attempt()
        if error is None:
            await self._end(line, FiringState.COMPLETED, outcome="ok")
        elif isinstance(error, RunNotCompleted) and not RunStatus(error.status).ended:
            # The run goes on without the handler.
            await self._end(line, FiringState.COMPLETED, outcome="parked", run_id=error.run_id)
        elif isinstance(error, StoreUnavailableError):  # no failure of the job: the same attempt again
            _log.debug("job_retried", attempt=record.attempt, delay_s=_AWAY.total_seconds(), exc_info=error)
            record.error = describe(error)
            await self._wait(_AWAY)
            return await self._commit(line, UpdateFiring(record))  # which waits for the store
        elif retry.allows(record.attempt, error):
            wait_s = retry.wait_s(record.attempt, self._around.chance())
            _log.debug("job_retried", attempt=record.attempt, delay_s=round(wait_s, 3), exc_info=error)
            record.error = describe(error)
            if await self._begin_next(line):
                await self._wait(timedelta(seconds=wait_s))
                return True
        else:
            await self._end(line, FiringState.FAILED, error=describe(error), outcome="failed", exc_info=error)
        return False

    async def _attempt(self) -> BaseException | None:
        """Run the handler once, within its time, and return what it raised.

        Raises `CancelledError` when it is cancelled from outside.
        """
        timeout, timer = self._job.schedule.timeout, None
        error: BaseException | None = None
        self._staging, self._expired = None, False
        if timeout is not None:
            timer = self._around.clock.call_later(timeout.total_seconds(), self._expire)
        try:
            await self._call()
        except asyncio.CancelledError:
            if self.task.cancelling() > self._expired:
                raise  # a shutdown
            error = RuntimeError(
                "something that the handler awaited was cancelled, though nobody cancelled the handler"
            )
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - whatever a handler raises is its firing's failure
            error = raised
        finally:
            if timer is not None:
                timer.cancel()
                if self._expired:
                    self.task.uncancel()
        if self._expired and timeout is not None:
            error = TimeoutError(f"job {self._job.name!r} did not end within {timeout.total_seconds():g} s")
        if self._urgent:
            done, _ = await asyncio.wait(self._urgent)
            self._urgent.clear()
            error = next((task.exception() for task in done if task.exception()), error)
        return error

    async def _call(self) -> None:
        """Call the handler in a container of its own."""
        job, attempt, container = self._job, self.record.attempt, self._around.container()
        scheduled = self.scheduled_for.isoformat()
        ctx = JobContext(
            container=container,
            data=job.schedule.data,
            scheduled_for=self.scheduled_for,
            attempt=attempt,
            options=self._around.options(job.name),
            log=_logger_of(job.handler.__module__),
            emit=self._emit,
        )
        try:
            trigger = Trigger("job", job.name, scheduled, **self._trace.headers("job", job.name, scheduled))
            activation = Activation(trigger, (scheduled,), repeats=True)
            with activated(activation), bind(attempt=attempt):
                await job.run(ctx)
        finally:
            await container.aclose()

    def _expire(self) -> None:
        self._expired = True
        self.task.cancel()

    # --- what the handler emits, and what is recorded ---

    def _emit(self, event: Event, immediately: bool) -> None:  # noqa: FBT001 - as contexts call it
        if self._staging is None:
            record, around = self.record, self._around
            self._staging = Staging(
                app=around.app,
                owner=around.owner,
                origin="\x00".join(("job", record.job, str(record.scheduled_us), str(record.attempt))),
                clock=around.clock,
                cause=None,
                commit_now=self._commit_now,
                max_payload_bytes=around.max_payload_bytes,
                trace=self._trace,
            )
        self._staging.emit(event, immediately)

    def _commit_now(self, write: StageEvent) -> None:
        async def commit() -> None:
            await self._around.store.commit(write)
            self._around.on_staged()

        self._urgent.append(asyncio.get_running_loop().create_task(commit()))

    async def _begin_next(self, line: dict[str, object]) -> bool:
        """Record that the next attempt is due; False if the firing is no longer ours."""
        self.record.attempt += 1
        return await self._commit(line, UpdateFiring(self.record))

    async def _end(self, line: dict[str, object], state: FiringState, *, error: str = "", **fields: object) -> None:
        """Record the end, and with it what the last attempt emitted; the line gets the fields."""
        record = self.record
        record.state, record.error, record.ended_us = state, error, self._around.clock.now_us()
        staged = () if self._staging is None or state is not FiringState.COMPLETED else self._staging.writes
        if await self._commit(line, UpdateFiring(record), *staged):
            line |= fields
            if staged:
                self._around.on_staged()

    async def _commit(self, line: dict[str, object], *writes: UpdateFiring | StageEvent) -> bool:
        if await self._around.store.commit(*writes) is Outcome.APPLIED:
            return True
        line |= {"outcome": "taken_over", "reason": "another process holds this firing: our lease had run out"}
        return False


def describe(error: BaseException) -> str:
    """Return an exception's type and message as every database takes it: at most 4,000 characters, without secrets."""
    name, message = type(error).__qualname__, text_of(error)
    text = f"{name}: {message}"[:_ERROR_MAX] if message else name
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
