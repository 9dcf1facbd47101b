"""One attempt of a firing: the job's handler, called within its time in a container of its own."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from structlog.typing import FilteringBoundLogger

from daemon.activation import Activation, Trigger, activated
from daemon.clock import from_us
from daemon.events.model import Event
from daemon.log import bind, get_logger
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job, JobContext
from daemon.staging import Staging
from daemon.store.job_model import FiringRecord
from daemon.store.writes import StageEvent
from daemon.trace import Trace


@cache
def _logger_of(module: str) -> FilteringBoundLogger:
    return get_logger(module)


class Attempt:
    """One call of a job's handler.

    Args:
        record: The firing's row, as the attempt begins.
        task: Awaits the call; it is cancelled when the job's time is over.
    """

    __slots__ = ("_around", "_expired", "_job", "_number", "_record", "_staging", "_task", "_trace", "_urgent")

    def __init__(
        self, job: Job[Any], record: FiringRecord, around: Surroundings, trace: Trace, task: asyncio.Task[None]
    ) -> None:
        self._job = job
        self._record = record
        self._number = record.attempt
        self._around = around
        self._trace = trace
        self._task = task
        self._staging: Staging | None = None
        self._urgent: list[asyncio.Task[None]] = []
        self._expired = False

    @property
    def writes(self) -> Sequence[StageEvent]:
        """What the handler emitted, for the commit of its end."""
        return () if self._staging is None else self._staging.writes

    async def run(self) -> BaseException | None:
        """Run the handler once, within its time, and return what it raised.

        Raises `CancelledError` when it is cancelled from outside.
        """
        timeout, timer = self._job.schedule.timeout, None
        error: BaseException | None = None
        if timeout is not None:
            timer = self._around.clock.call_later(timeout.total_seconds(), self._expire)
        try:
            await self._call()
        except asyncio.CancelledError:
            if self._task.cancelling() > self._expired:
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
                    self._task.uncancel()
        if self._expired and timeout is not None:
            error = TimeoutError(f"job {self._job.name!r} did not end within {timeout.total_seconds():g} s")
        if self._urgent:
            done, _ = await asyncio.wait(self._urgent)
            error = next((task.exception() for task in done if task.exception()), error)
        return error

    async def _call(self) -> None:
        """Call the handler in a container of its own."""
        job, container = self._job, self._around.container()
        scheduled_for = from_us(self._record.scheduled_us)
        scheduled = scheduled_for.isoformat()
        ctx = JobContext(
            container=container,
            data=job.schedule.data,
            scheduled_for=scheduled_for,
            attempt=self._number,
            options=self._around.options(job.name),
            log=_logger_of(job.handler.__module__),
            emit=self._emit,
        )
        try:
            trigger = Trigger("job", job.name, scheduled, **self._trace.headers("job", job.name, scheduled))
            activation = Activation(trigger, (scheduled,), may_defer=True)
            with activated(activation), bind(attempt=self._number):
                await job.run(ctx)
        finally:
            await container.aclose()

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def _emit(self, event: Event, immediately: bool) -> None:  # noqa: FBT001 - as contexts call it
        if self._staging is None:
            record, around = self._record, self._around
            self._staging = Staging(
                app=around.app,
                owner=around.owner,
                origin="\x00".join(("job", record.job, str(record.scheduled_us), str(self._number))),
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
