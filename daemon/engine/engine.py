"""The workflow engine: starts, joins, resumes and shows runs, and does what is asked of them."""

import asyncio
from dataclasses import replace
from typing import Any, Unpack

from daemon.engine.driving import Surroundings
from daemon.engine.incoming import Incoming
from daemon.engine.operations import reopen, report_error, report_output, request_cancel
from daemon.engine.ports import Ports
from daemon.engine.starter import RunStarter
from daemon.events.model import Envelope, Event
from daemon.store.model import RunRecord
from daemon.workflow.port import RunOptions
from daemon.workflow.run import WorkflowRun


class WorkflowEngine(RunStarter):
    """Starts, joins, resumes and shows the runs of one application; as `RunDriver` is made.

    Attributes:
        incoming: Takes in the events that workflows wait for; for machinery.
    """

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports, **around)
        self.incoming = Incoming(self._ports, self._workflows)

    async def take_event(self, event: Event, envelope: Envelope) -> None:
        """Keep an event for the runs that wait for it, now or later, and go on with those that are here.

        Raises:
            Exception: Whatever a `match` raised; the event is kept for the others.
        """
        try:
            await self.incoming.take(event, envelope)
        finally:
            await self.heed(everything=False)

    async def cancel(self, run_id: str, *, wait: bool = False) -> WorkflowRun[Any]:
        """Ask for a run to be rolled back and to end `cancelled`; return it as it stands once that is durable.

        No new step starts. Those that run are awaited, then everything is undone as after a failure. A run that
        waits does so at once; one that rolls back already goes on with it, and ends `cancelled`, too. It ends `failed`
        if a compensation gives up. The request reaches the run in whichever process it is, also after a crash; a run
        that completes before it does stays completed.

        Args:
            run_id: Its latest attempt is cancelled.
            wait: Wait for the end.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: It has ended; the message says how.
        """
        record = await request_cancel(self._ports, run_id)
        await self._cancel_here(record)
        return await self._asked(record, wait=wait)

    async def retry(self, run_id: str, *, wait: bool = False) -> WorkflowRun[Any]:
        """Go on with a rollback that gave up; return the run as it stands once that is durable.

        The compensations that gave up are tried afresh, by their `compensation_retry`; nothing else is undone again.
        The run ends as it would have then. It goes on here if its workflow is known here, else in a daemon.

        Args:
            run_id: Its latest attempt is meant.
            wait: Wait for the end.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: It is not `failed`, or none of its compensations gave up.
        """
        reopening = asyncio.create_task(self._reopen(run_id), name=f"retry {run_id}")
        self._rescues.add(reopening)
        reopening.add_done_callback(self._rescues.discard)
        return await self._asked(await asyncio.shield(reopening), wait=wait)

    async def complete_step(self, run_id: str, step: str, output: Any = None) -> None:
        """Report the output of an external step, which waits for it; the run goes on, in whichever process it is.

        Args:
            run_id: Of the run that the step is in; a child has its own.
            step: Its name.
            output: Of the step's declared type; or `Json`, which is read as that.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: The step does not wait for a report; the message says in what state it is.
            CodecError: The output does not fit the step's type; a `MisfitError` for `Json`.
            PayloadTooLargeError: It is above the limit.
        """
        await report_output(self._ports, self._workflows, run_id, step, output)
        await self.heed(everything=False)

    async def fail_step(self, run_id: str, step: str, error: str | BaseException) -> None:
        """Report that an external step, which waits for its outcome, has failed; it is tried again by its `retry`.

        Args:
            run_id: Of the run that the step is in; a child has its own.
            step: Its name.
            error: Why.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: The step does not wait for a report; the message says in what state it is.
        """
        await report_error(self._ports, run_id, step, error)
        await self.heed(everything=False)

    async def _reopen(self, run_id: str) -> RunRecord:
        """Make it durable that a rollback goes on, and go on with it if its workflow is known here."""
        while (other := self._starting.get(run_id)) is not None:
            await asyncio.wait([other])
        self._starting[run_id] = asyncio.get_running_loop().create_future()
        try:
            live = self._live.get(run_id)
            if live is not None and live.task is not None and live.record.status.ended:
                await asyncio.wait([live.task])  # it still closes its services
            record = await reopen(self._ports, run_id, self._workflows, closing=self._closing)
            asked = replace(record)
            if record.owner:
                await self._resume(record)
            return asked
        finally:
            self._starting.pop(run_id).set_result(None)

    async def _asked(self, record: RunRecord, *, wait: bool) -> WorkflowRun[Any]:
        """Return a run of which something was asked: as it stands, or at its end."""
        if not wait:
            return await self.get(record.run_id)
        found = self._live.get(record.run_id) or await self._join_stored(record, RunOptions(wait=True))
        return await self._answer(found, wait)
